import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
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

  t.test('refuses values that it would not use', { skip: !hasHelm && 'helm is not here' }, async t => {
    const wrong = ['replicas=3', 'nodes.edge.replica=3', 'config.LEDGERLINE_NODE_ID=x', 'config.PORT=x', 'nodes.edge.kind=DaemonSet']
    for (const value of wrong) {
      const { stderr } = spawnSync('helm', ['template', 'x', chart, '--kube-version', '1.31.0', '--set-string', value], { encoding: 'utf8' })
      t.match(stderr, /values don't meet the specifications of the schema/, value)
    }
  })
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
