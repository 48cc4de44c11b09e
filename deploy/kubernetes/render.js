import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/*
  Makes the manifests beside this file from the chart, for those who do without Helm. It needs `helm`:

    node deploy/kubernetes/render.js
*/

const chart = fileURLToPath(new URL('../helm/ledgerline', import.meta.url))

/** Each file, and the values that it is made of besides those of the chart. */
export const manifests = { 'cluster.yaml': [], 'standalone.yaml': ['values-standalone.yaml'] }

/** @returns the text of a manifest, as kubectl takes it */
export function render (values, ...options) {
  const files = values.flatMap(file => ['--values', `${chart}/${file}`])
  const args = ['template', 'ledgerline', chart, '--kube-version', '1.31.0', ...files, ...options]
  return `# Made by npm run manifests from deploy/helm/ledgerline.\n${execFileSync('helm', args, { encoding: 'utf8' })}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [file, values] of Object.entries(manifests)) writeFileSync(new URL(file, import.meta.url), render(values))
}
