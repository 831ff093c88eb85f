// npm `saml-idp`, a whole provider with pages. Its settings come in the environment variable PROVIDER, as JSON; prints its address once it
// answers, and ends with its stdin.
import {createPrivateKey} from 'node:crypto'
import {createRequire} from 'node:module'
import {createServer} from 'node:net'

const require = createRequire(process.env.PROVIDER_MODULES + '/')
const {port: wanted, key, ...settings} = JSON.parse(process.env.PROVIDER)
// Its log goes where nobody reads it: stdout is for the address.
const say = process.stdout.write.bind(process.stdout)
process.stdout.write = () => true

const free = () => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const {port} = server.address()
    server.close(() => resolve(port))
  })
})
const {runServer} = require('saml-idp')
// As late as possible: until the server listens, the port is anybody's.
const port = wanted ?? await free()
runServer({
  host: '127.0.0.1',
  port,
  // The form of before PKCS #8, which is all that it takes.
  key: createPrivateKey(key).export({type: 'pkcs1', format: 'pem'}),
  acsUrl: 'http://127.0.0.1:9/',
  audience: 'urn:nobody',
  config: require('saml-idp/config.js'),
  ...settings,
})
const address = `http://127.0.0.1:${port}`
for (;;) {
  const answer = await fetch(`${address}/metadata`).catch(() => null)
  if (answer?.ok) break
  await new Promise((resolve) => setTimeout(resolve, 20))
}
say(`${address}\n`)
process.stdin.on('end', () => process.exit(0)).resume()
