/* aedes, an MQTT broker in JavaScript, with its in-memory persistence: QoS 1, nothing stored on disk. */
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { listen, ready } from './control.js'

const broker = await Aedes.createBroker({ maxClientsIdLength: 64 })
const port = await listen(createServer({ noDelay: true }, broker.handle))
ready({ port })
