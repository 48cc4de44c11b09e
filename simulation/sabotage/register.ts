/* For `--import`: puts the defect that LEDGERLINE_SABOTAGE names into the program. */
import { register } from 'node:module'
import { failures } from './failures.js'
import { mutations } from './mutations.js'

const { LEDGERLINE_SABOTAGE: wanted } = process.env
const defect = [...mutations, ...failures].find(({ name }) => name === wanted)
if (!defect) throw new Error(`LEDGERLINE_SABOTAGE: got ${wanted}, want the name of a defect`)
delete process.env.LEDGERLINE_SABOTAGE // it is no setting of a node
register('./hooks.js', import.meta.url, { data: defect })
