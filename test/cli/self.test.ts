import t from 'tap'
import { ownCommand, quoted } from '../../cli/self.js'

t.test('ownCommand', async t => {
  const env = { PATH: '/usr/local/bin:/usr/bin' }
  for (const [program, cwd, wanted] of [
    ['/usr/local/bin/ledgerline', '/home/ann', 'ledgerline'],
    ['/opt/ours/ledgerline', '/home/ann', 'node ../../opt/ours/ledgerline'],
    ['/home/ann/app/node_modules/.bin/ledgerline', '/home/ann/app', 'npx ledgerline'],
    ['/home/ann/.npm/_npx/1f/node_modules/.bin/ledgerline', '/home/ann', 'npx ledgerline'],
    ['/src/ledgerline', '/src/ledgerline', 'node .'],
    ['/src/gateway', '/src/gateway', 'node .'],
    ['/src/gateway/dist/cli/ledgerline.js', '/src/gateway', 'node dist/cli/ledgerline.js'],
    ['/src/my gateway/dist/cli/ledgerline.js', '/src', 'node \'my gateway/dist/cli/ledgerline.js\''],
  ] as const) {
    t.equal(ownCommand({ argv: ['/usr/bin/node', program], env, cwd }), wanted, program)
  }
})

t.test('quoted', async t => {
  t.equal(quoted('./data'), './data')
  t.equal(quoted('it\'s'), '\'it\'\\\'\'s\'')
})
