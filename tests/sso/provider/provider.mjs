// A real OpenID provider for tests and for trying things out: npm `oidc-provider` with people of its own.
//
// Settings come as JSON in the environment variable PROVIDER: { port, client_id, client_secret, redirect_uris,
// post_logout_redirect_uris, people: { <login>: { email, email_verified, name, groups } } }. It says its issuer on standard output
// and ends when its standard input does. Its sign-in page takes a login and, if one was typed, any code as a second factor.

import http from 'node:http'
import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {pathToFileURL} from 'node:url'
import path from 'node:path'

// Standard output is for the issuer alone: whoever reads it may stop reading.
for (const name of ['log', 'info', 'warn', 'debug']) console[name] = console.error

// The package is installed where it is said to be, not beside this file.
const modules = process.env.PROVIDER_MODULES ?? path.dirname(new URL(import.meta.url).pathname)
const require = createRequire(path.join(modules, 'package.json'))
const root = path.dirname(require.resolve('oidc-provider/package.json'))
const {main} = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const {Provider} = await import(pathToFileURL(path.join(root, main)).href)

const settings = JSON.parse(process.env.PROVIDER)
const server = http.createServer()
await new Promise((resolve) => server.listen(settings.port ?? 0, '127.0.0.1', resolve))
const issuer = `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  clients: [{
    client_id: settings.client_id,
    client_secret: settings.client_secret,
    redirect_uris: settings.redirect_uris,
    post_logout_redirect_uris: settings.post_logout_redirect_uris ?? [],
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  cookies: {keys: ['only for tests']},
  pkce: {required: () => true},
  acrValues: ['urn:test:mfa', 'urn:test:single'],
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name'],
    groups: ['groups'],
    acr: null, amr: null, auth_time: null, sid: null, iss: null,
  },
  scopes: ['openid', 'email', 'profile', 'groups'],
  features: {devInteractions: {enabled: false}},
  interactions: {url: (_ctx, interaction) => `/interaction/${interaction.uid}`},
  findAccount: (_ctx, id) => settings.people[id] && {
    accountId: id,
    claims: () => ({sub: id, ...settings.people[id]}),
  },
})

async function interact(req, res) {
  const {params, grantId} = await provider.interactionDetails(req, res)
  if (req.method === 'GET') {
    res.setHeader('content-type', 'text/html')
    res.end('<form method="post"><input name="login" placeholder="login"><input name="code" placeholder="code"><button>Sign in</button></form>')
    return
  }
  let body = ''
  for await (const chunk of req) body += chunk
  const form = new URLSearchParams(body)
  const accountId = form.get('login')
  if (!settings.people[accountId]) {
    await provider.interactionFinished(req, res, {error: 'access_denied', error_description: 'nobody here'})
    return
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({accountId, clientId: params.client_id})
  grant.addOIDCScope(params.scope)
  const second = Boolean(form.get('code'))
  await provider.interactionFinished(req, res, {
    login: {
      accountId,
      acr: second ? 'urn:test:mfa' : 'urn:test:single',
      amr: second ? ['pwd', 'otp'] : ['pwd'],
    },
    consent: {grantId: await grant.save()},
  })
}

server.on('request', (req, res) => {
  const handled = req.url.startsWith('/interaction/') ? interact(req, res) : provider.callback()(req, res)
  Promise.resolve(handled).catch((error) => {
    console.error(error)
    res.statusCode = 500
    res.end()
  })
})
process.stdout.write(`${issuer}\n`)
process.stdin.on('end', () => process.exit(0)).resume()
