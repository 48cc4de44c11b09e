/* For `--import`: puts the mutation that LEDGERLINE_SABOTAGE names into the program. */
import { register } from 'node:module'
import { mutations } from './mutations.js'

const { LEDGERLINE_SABOTAGE: wanted } = process.env
const mutation = mutations.find(({ name }) => name === wanted)
if (!mutation) throw new Error(`LEDGERLINE_SABOTAGE: got ${wanted}, want the name of a mutation`)
delete process.env.LEDGERLINE_SABOTAGE // it is no setting of a node
register('./hooks.js', import.meta.url, { data: mutation })
