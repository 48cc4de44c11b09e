import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { checkAll, parsed } from './manifests.js'

interface Renderer {
  readonly manifests: Readonly<Record<string, readonly string[]>>
  render (values: readonly string[], ...options: string[]): string
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { manifests, render } = await import(join(root, 'deploy/kubernetes/render.js')) as Renderer
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const hasHelm = spawnSync('helm', ['version']).status === 0
/** Values that switch on what is off by default. */
const everything = ['tlsSecret=tls', 'nodes.edge.autoscaling.enabled=true', 'nodes.push.autoscaling.enabled=true',
  'nodes.edge.service.type=LoadBalancer', 'imagePullSecrets[0].name=registry', 'nodeSelector.disk=ssd']
  .map(value => `--set=${value}`)

for (const [file, values] of Object.entries(manifests)) {
  t.test(`deploy/kubernetes/${file}`, async t => {
    t.test('fits together, and is what a node takes', async t => {
      checkAll(t, parsed(read(`deploy/kubernetes/${file}`)))
    })

    t.test('is what the chart makes', { skip: !hasHelm && 'helm is not here' }, async t => {
      t.equal(read(`deploy/kubernetes/${file}`), render(values))
    })
  })
}

t.test('The chart', async t => {
  const chart = join(root, 'deploy/helm/ledgerline')

  t.test('has the version of the program', async t => {
    const { version } = JSON.parse(read('package.json'))
    t.match(parsed(read('deploy/helm/ledgerline/Chart.yaml'))[0], { version, appVersion: version })
  })

  t.test('passes helm lint, and fits together with everything on', { skip: !hasHelm && 'helm is not here' }, async t => {
    execFileSync('helm', ['lint', '--strict', chart], { stdio: ['ignore', 'ignore', 'pipe'] })
    checkAll(t, parsed(render([], ...everything)))
  })

  t.test('gives a group an image of its own', { skip: !hasHelm && 'helm is not here' }, async t => {
    const all = parsed(render([], '--set=image.tag=1.0.0', '--set=nodes.users.image.tag=2.0.0'))
    const nodes = all.filter(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment')
    for (const { metadata: { name }, spec: { template } } of nodes) {
      t.equal(template.spec.containers[0].image, name === 'ledgerline-users' ? 'ledgerline:2.0.0' : 'ledgerline:1.0.0', name)
    }
  })

  t.test('replaces no node for a new version of the chart', async t => {
    const nodes = parsed(read('deploy/kubernetes/cluster.yaml')).filter(({ spec }) => spec?.template !== undefined)
    for (const { spec: { selector, template } } of nodes) t.strictSame(template.metadata.labels, selector.matchLabels)
  })

  t.test('notes what is there', { skip: !hasHelm && 'helm is not here' }, async t => {
    const copy = join(t.testdir(), 'ledgerline')
    cpSync(chart, copy, { recursive: true })
    const notes = (...options: string[]) => {
      renameSync(join(copy, 'templates/NOTES.txt'), join(copy, 'NOTES.txt'))
      writeFileSync(join(copy, 'templates/notes.yaml'), 'notes: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n')
      const args = ['template', 'ledgerline', copy, '--kube-version', '1.31.0', '--show-only', 'templates/notes.yaml', ...options]
      const [made] = parsed(execFileSync('helm', args, { encoding: 'utf8' })) as unknown as Array<{ notes: string }>
      renameSync(join(copy, 'NOTES.txt'), join(copy, 'templates/NOTES.txt'))
      return made!.notes
    }
    const cluster = notes()
    t.match(cluster, 'exec deployment/ledgerline-push -- ledgerline push')
    t.notMatch(cluster, 'keys')
    t.match(notes('--set=existingSecret='), 'Set existingSecret')
    const one = notes('--values', join(chart, 'values-standalone.yaml'))
    t.match(one, 'exec statefulset/ledgerline-all -- ledgerline push')
    t.match(one, 'keeps them on its volume')
    t.notMatch(one, 'existingSecret')
  })

  t.test('refuses values that it would not use', { skip: !hasHelm && 'helm is not here' }, async t => {
    const wrong = ['replicas=3', 'nodes.edge.replica=3', 'config.LEDGERLINE_NODE_ID=x', 'config.PORT=x', 'nodes.edge.kind=DaemonSet']
    for (const value of wrong) {
      const { stderr } = spawnSync('helm', ['template', 'x', chart, '--kube-version', '1.31.0', '--set-string', value], { encoding: 'utf8' })
      t.match(stderr, /values don't meet the specifications of the schema/, value)
    }
  })
})

t.test('docs/kubernetes.md has Prometheus ask every node, as the job of the alerts', async t => {
  const [monitor, config] = Array.from(read('docs/kubernetes.md').matchAll(/```yaml\n(.+?)```/gs), ([, text]) => parsed(text!)[0] as any)
  const service = parsed(read('deploy/kubernetes/cluster.yaml')).find(({ metadata }) => metadata.name === 'ledgerline-nodes')!
  const { labels } = service.metadata
  t.match(labels, monitor.spec.selector.matchLabels)
  t.equal(service.spec.ports[0].name, monitor.spec.endpoints[0].port)
  t.equal(labels[monitor.spec.jobLabel], 'ledgerline')
  const [{ job_name: job, relabel_configs: [kept] }] = config.scrape_configs
  t.equal(job, 'ledgerline')
  t.equal(kept.regex, `${labels['app.kubernetes.io/name']};${labels['app.kubernetes.io/component']}`)
  t.match(read('deploy/prometheus/alerts.yml'), 'up{job="ledgerline"}')
})

t.test('Kubernetes takes the manifests', async t => {
  const modules = join(process.env['XDG_CACHE_HOME'] || join(process.env['HOME'] ?? '/', '.cache'), 'ledgerline-test/python')
  const env = { ...process.env, PYTHONPATH: modules }
  const validate = (path: string) =>
    spawnSync('python3', ['-m', 'kubernetes_validate', '--strict', path], { env, encoding: 'utf8' })
  if (/No module named/.test(validate('/dev/null').stderr)) {
    t.pass('kubernetes-validate is not here', { skip: true })
    return
  }
  const folder = t.testdir()
  if (hasHelm) writeFileSync(join(folder, 'everything.yaml'), render([], ...everything))
  const paths = Object.keys(manifests).map(file => join(root, 'deploy/kubernetes', file))
  if (hasHelm) paths.push(join(folder, 'everything.yaml'))
  for (const path of paths) {
    const { status, stdout, stderr } = validate(path)
    t.equal(status, 0, stderr)
    t.notMatch(stdout + stderr, /ERROR|failed/i)
  }
})
