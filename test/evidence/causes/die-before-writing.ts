import { Socket } from 'node:net'

/*
  Preloaded into a gateway that a test starts: from SIGUSR2 on it dies, as by kill -9, in the moment in which it would
  write to a socket, and says so. What it had to say is decided and stored by then, and nobody hears it.
*/

process.on('SIGUSR2', () => {
  process.stdout.write('dies when it writes\n')
  Socket.prototype.write = () => {
    process.kill(process.pid, 'SIGKILL')
    return false
  }
})
