import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { install, packAll, type PackageName } from './packed.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

/** Bytes of the tarball, and what it must not grow beyond without anybody noticing. */
const bytesMax: Readonly<Record<PackageName, number>> = {
  ledgerline: 1_300_000,
  '@ledgerline/client': 180_000,
  '@ledgerline/service': 60_000,
}

/** What tells where a package was made, and from where its dependencies came. */
const private_ = [root.replace(/\/$/, ''), homedir(), '/tmp/', ...registryHosts()].filter(text => text.length > 1)

function registryHosts (): string[] {
  const registry = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim()
  return URL.canParse(registry) ? [new URL(registry).host] : []
}

t.test('The packages', { timeout: 120_000 }, async t => {
  const folder = t.testdir()
  const tarballs = packAll(folder)
  const names = Object.keys(bytesMax) as PackageName[]
  const installed = new Map(names.map(name => [name, install(tarballs[name], name, folder)]))
  const manifests = names.map(name => json(join(installed.get(name)!, 'package.json')))

  for (const name of names) {
    t.test(`${name} is as small as it is meant to be`, async t => {
      const { size } = statSync(tarballs[name])
      t.comment(`${name}: ${size} bytes, ${filesOf(installed.get(name)!).length} files`)
      t.ok(size <= bytesMax[name], `${size} bytes`)
    })

    t.test(`${name} says nothing of the machine that it was made on`, async t => {
      const found = filesOf(installed.get(name)!).flatMap(file => {
        const text = readFileSync(join(installed.get(name)!, file), 'utf8')
        return private_.filter(each => text.includes(each) && !isExample(file, each)).map(each => [file, each])
      })
      t.strictSame(found, [])
    })

    t.test(`${name} has its license, its readme, and no sources or tests`, async t => {
      const files = filesOf(installed.get(name)!)
      for (const file of ['LICENSE', 'README.md', 'package.json']) t.ok(files.includes(file), file)
      t.strictSame(files.filter(file => /(?<!\.d)\.ts$|\.map$|\.tsbuildinfo$|(^|\/)test\/|\.test\.js$/.test(file)), [])
    })
  }

  t.test('ledgerline has what its documentation tells one to install or load', async t => {
    const folder = installed.get('ledgerline')!
    const pages = filesOf(folder).filter(file => /^docs\/[^/]+\.md$/.test(file))
    const text = pages.map(page => readFileSync(join(folder, page), 'utf8')).join()
    const linked = Array.from(text.matchAll(/\]\(\.\.\/(deploy\/[^)#]+)/g), ([, path]) => path!)
    t.ok(linked.includes('deploy/systemd/ledgerline.service'))
    t.strictSame(linked.filter(path => !existsSync(join(folder, path))), [])
  })

  t.test('have one version, license, and Node.js', async t => {
    for (const field of ['version', 'license', 'engines']) {
      t.equal(new Set(manifests.map(manifest => JSON.stringify(manifest[field]))).size, 1, field)
    }
  })

  t.test('are the only ones of their names: folders without what was compiled can not be published', async t => {
    for (const [i, name] of names.entries()) {
      t.equal(manifests[i].private, undefined, name)
      const source = name.replace('@ledgerline', 'packages')
      if (source !== name) t.equal(json(join(root, source, 'package.json')).private, true, source)
    }
  })

  t.test('have of the server\'s dependencies only those that their files import', async t => {
    const [server, client, service] = manifests
    t.strictSame(client.dependencies, { ws: server.dependencies.ws })
    t.equal(service.dependencies, undefined)
    for (const [name, allowed] of [['@ledgerline/client', ['ws']], ['@ledgerline/service', []]] as const) {
      const imported = filesOf(installed.get(name)!).filter(file => /\.c?js$/.test(file)).flatMap(file =>
        [...readFileSync(join(installed.get(name)!, file), 'utf8').matchAll(/(?:\bfrom ?|\brequire\()"([\w@][\w@/:.-]*)"/g)].map(([, from]) => from!))
      t.strictSame([...new Set(imported)].filter(from => !from.startsWith('node:')), allowed, name)
    }
  })

  t.test('export files that are there', async t => {
    for (const [i, name] of names.entries()) {
      const { exports, bin = {}, main } = manifests[i]
      const paths = [main, ...Object.values<string>(bin), ...leaves(exports)].filter(path => path !== undefined && !path.includes('*'))
      for (const path of paths) t.ok(statSync(join(installed.get(name)!, path)).isFile(), `${name} ${path}`)
    }
  })
})

t.test('package-lock.json', async t => {
  t.test('names no registry', async t => {
    for (const path of ['package-lock.json', 'bench/package-lock.json']) {
      const { packages } = json(join(root, path)) as { packages: Record<string, { resolved?: string }> }
      const resolved = Object.values(packages).flatMap(each => each.resolved ?? [])
      t.strictSame(resolved.filter(url => /^https?:/.test(url)), [], path)
    }
  })
})

function filesOf (folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(path => statSync(join(folder, path)).isFile())
}

function leaves (value: unknown): string[] {
  return typeof value === 'string' ? [value] : Object.values(value as object).flatMap(leaves)
}

/** Documentation may name a place of its reader, too. */
function isExample (file: string, place: string): boolean { return place === '/tmp/' && file.endsWith('.md') }
