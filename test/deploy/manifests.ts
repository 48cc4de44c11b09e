import type { Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { roles, settings } from '../../gateway/config.js'
import { faultsOf } from '../../gateway/config-check.js'
import { declared } from '../../gateway/metrics/declared.js'
import type { Environment, Setting } from '../../gateway/setting.js'

export interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string, readonly labels: Labels }
  readonly data?: Record<string, string>
  readonly spec: any
}
type Labels = Readonly<Record<string, string>>
interface Named { readonly name: string }
interface Variable extends Named {
  readonly value?: string
  readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } }
}
interface Port extends Named { readonly containerPort: number }
const known = new Set(Object.values<Setting>(settings).map(({ variable }) => variable))

/** What an operator puts into the Secret that the manifests name. */
const secret = {
  REDIS_URL: 'redis://redis:6379',
  LEDGERLINE_JWT_SECRET: 'a secret of a cluster, long enough',
  LEDGERLINE_API_KEYS: 'a-key-of-the-cluster',
}

export function parsed (text: string): Manifest[] {
  return parseAllDocuments(text).map(document => document.toJS() as Manifest).filter(Boolean)
}

const of = (all: readonly Manifest[], ...kinds: string[]) => all.filter(({ kind }) => kinds.includes(kind))
const isPart = (part: Labels, labels: Labels) => Object.entries(part).every(([name, value]) => labels[name] === value)

/** What the container of a pod has for its environment. */
function environmentOf (all: readonly Manifest[], { spec }: Manifest): Environment {
  const [{ env, envFrom }] = spec.template.spec.containers
  const maps = envFrom.map(({ configMapRef, secretRef }: { configMapRef?: { name: string }, secretRef?: object }) =>
    secretRef ? secret : of(all, 'ConfigMap').find(({ metadata }) => metadata.name === configMapRef!.name)!.data)
  const own = (env as Variable[]).map(({ name, value, valueFrom }) =>
    [name, value ?? (valueFrom!.fieldRef.fieldPath === 'metadata.name' ? 'edge-0' : undefined)])
  return Object.assign({}, ...maps, Object.fromEntries(own))
}

/** Checks that manifests fit together: pods, settings, ports, selectors, budgets, and what stops in time. */
export function checkAll (t: Test, all: readonly Manifest[]): void {
  const nodes = of(all, 'StatefulSet', 'Deployment')
  for (const node of nodes) {
    const { metadata: { name }, spec: { selector, template } } = node
    const [container] = template.spec.containers
    const env = environmentOf(all, node)
    t.strictSame(Object.keys(env).filter(variable => !known.has(variable)), [], `${name}: every variable is a setting`)
    const { LEDGERLINE_TLS_CERT: _, LEDGERLINE_TLS_KEY: __, ...withoutFiles } = env
    const faults = faultsOf([{ name: 'environment', values: withoutFiles, misspelt: [] }], {})
    t.strictSame(faults, [], `${name}: a start takes them`)

    const nodeRoles = rolesOf([node])
    t.ok(!nodeRoles.includes('console') || nodeRoles.includes('push'), `${name}: pages of users and rooms ask its role push`)

    const ms = (variable: string, setting: Setting) => Number(env[variable] ?? setting.fallback)
    const stopMs = ms('LEDGERLINE_DRAIN_MS', settings.drainMs) + ms('LEDGERLINE_STOP_GRACE_MS', settings.stopGraceMs)
    const killedAfterMs = template.spec.terminationGracePeriodSeconds * 1_000
    t.ok(killedAfterMs >= stopMs + 30_000, `${name}: it is not killed while it stops`)

    const ports = Object.fromEntries((container.ports as Port[]).map(port => [port.name, port.containerPort]))
    t.match(ports, { http: Number(settings.httpPort.fallback), metrics: Number(env['LEDGERLINE_METRICS_PORT']) }, name)
    const probes = { startupProbe: '/healthz', livenessProbe: '/healthz', readinessProbe: '/readyz' }
    for (const [probe, path] of Object.entries(probes)) {
      t.match(container[probe].httpGet, { path, port: 'metrics' }, `${name}: ${probe}`)
    }
    t.match(container.securityContext, { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false }, name)
    t.equal(template.spec.enableServiceLinks, false, `${name}: no Service sets a variable of ours`)
    t.ok(isPart(selector.matchLabels, template.metadata.labels), `${name}: it selects its own pods`)
    const { podAntiAffinity } = template.spec.affinity
    const [{ podAffinityTerm }] = podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution
    t.strictSame(podAffinityTerm.labelSelector, selector, `${name}: its nodes are apart`)
    const budgets = of(all, 'PodDisruptionBudget')
      .filter(({ spec }) => isPart(spec.selector.matchLabels, template.metadata.labels))
    t.strictSame(budgets.map(({ spec }) => spec.maxUnavailable), [1], `${name}: one of it goes at a time`)
    const claims: Manifest[] = node.spec.volumeClaimTemplates ?? []
    const volumes: Named[] = [...template.spec.volumes ?? [], ...claims.map(claim => claim.metadata)]
    t.strictSame(namesOf(container.volumeMounts), namesOf(volumes), `${name}: it mounts its volumes`)
    t.match(container.image, /^ledgerline:\d+\.\d+\.\d+$/)
  }
  for (const { metadata: { name }, spec } of of(all, 'Service')) {
    const selected = nodes.filter(node => isPart(spec.selector, node.spec.template.metadata.labels))
    t.ok(selected.length > 0, `Service ${name} has nodes`)
    for (const { targetPort } of spec.ports) {
      for (const node of selected) {
        t.ok(namesOf(node.spec.template.spec.containers[0].ports).includes(targetPort), `${name}: ${targetPort}`)
      }
    }
  }
  for (const { spec } of of(all, 'StatefulSet')) {
    t.ok(of(all, 'Service').some(({ metadata }) => metadata.name === spec.serviceName), 'a StatefulSet has its Service')
  }
  for (const { spec } of of(all, 'HorizontalPodAutoscaler')) {
    const { kind: kindWanted, name } = spec.scaleTargetRef
    const target = nodes.find(({ kind, metadata }) => kind === kindWanted && metadata.name === name)
    t.equal(target?.spec.replicas, undefined, 'what is scaled has no count of its own')
    for (const { pods } of spec.metrics) {
      if (pods) t.ok(Object.values(declared).some(({ name }) => name === pods.metric.name), pods.metric.name)
    }
  }
  t.strictSame(rolesOf(nodes), [...roles].sort(), 'together they have every role')
}

function namesOf (list: readonly Named[]): string[] { return list.map(({ name }) => name).sort() }

function rolesOf (nodes: readonly Manifest[]): string[] {
  const given = nodes.map(({ spec }) => spec.template.spec.containers[0].env
    .find(({ name }: Named) => name === 'LEDGERLINE_ROLES').value as string)
  return [...new Set(given.flatMap(text => settings.roles.parse(text)!))].sort()
}
