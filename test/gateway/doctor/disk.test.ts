import { join } from 'node:path'
import t from 'tap'
import { diskFindings } from '../../../gateway/doctor/disk.js'

t.test('a directory on this disk can be used, whether it is there or not', async t => {
  for (const directory of [t.testdir(), join(t.testdir(), 'not', 'there')]) {
    const findings = diskFindings(directory)
    t.strictSame(findings.map(({ subject }) => subject), ['data directory', 'file system', 'free room'])
    t.equal(findings[0]!.verdict, 'ok')
    t.equal(findings[0]!.found.startsWith(directory), true)
  }
})

t.test('what is lost at a restart of the machine is warned of', async t => {
  const [, fileSystem] = diskFindings('/dev/shm/ledgerline')
  t.match(fileSystem, { verdict: 'warning', found: 'tmpfs', fix: /LEDGERLINE_DATA/ })
})
