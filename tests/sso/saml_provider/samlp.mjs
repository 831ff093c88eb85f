// What a SAML provider signs, made by npm `samlp` without a browser: a question as JSON for each line of stdin, an answer for each of stdout.
//
//   {"inflate": base64}                          -> {"xml": what a request of HTTP-Redirect says}
//   {"key": PEM, "cert": PEM, "issuer", "audience", "recipient", "destination", "in_response_to", "lifetime_s", "context",
//    "name_id", "name_id_format", "attributes": {name: [value]}, "sign_assertion", "sign_response", "clock_s": seconds from now,
//    "encrypt": certificate PEM, "edits": [[from, to]] of the text before it is signed}
//                                                -> {"response": base64}
import {X509Certificate} from 'node:crypto'
import {createRequire} from 'node:module'
import {createInterface} from 'node:readline'
import {inflateRawSync} from 'node:zlib'

const require = createRequire(process.env.PROVIDER_MODULES + '/')
const samlp = require('samlp')
const {SignedXml} = require('xml-crypto')

const C14N = 'http://www.w3.org/2001/10/xml-exc-c14n#'
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature'
const now = Date.now

function respond(asked) {
  Date.now = () => now() + 1000 * (asked.clock_s ?? 0)
  const options = {
    key: asked.key,
    cert: asked.cert,
    issuer: asked.issuer,
    audience: asked.audience,
    recipient: asked.recipient,
    destination: asked.destination,
    inResponseTo: asked.in_response_to,
    lifetimeInSeconds: asked.lifetime_s ?? 300,
    authnContextClassRef: asked.context,
    signatureAlgorithm: 'rsa-sha256',
    digestAlgorithm: 'sha256',
    signAssertion: asked.edits ? false : asked.sign_assertion ?? true,
    signResponse: asked.edits ? false : asked.sign_response ?? false,
    profileMapper: () => ({
      getClaims: () => asked.attributes ?? {},
      getNameIdentifier: () => ({nameIdentifier: asked.name_id, nameIdentifierFormat: asked.name_id_format}),
    }),
  }
  if (asked.encrypt) {
    options.encryptionCert = asked.encrypt
    options.encryptionPublicKey = new X509Certificate(asked.encrypt).publicKey.export({type: 'spki', format: 'pem'})
    options.encryptionAlgorithm = 'http://www.w3.org/2009/xmlenc11#aes256-gcm'
    options.keyEncryptionAlgorithm = 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p'
  }
  return new Promise((resolve, reject) => samlp.getSamlResponse(options, {}, (error, xml) => {
    Date.now = now
    if (error) return reject(error)
    if (asked.edits) xml = signed(asked, asked.edits.reduce((text, [from, to]) => text.replace(new RegExp(from, 'g'), to), xml))
    resolve({response: Buffer.from(xml).toString('base64')})
  }))
}

function signed(asked, text) {
  const signer = new SignedXml(null, {signatureAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'})
  signer.addReference("/*[local-name(.)='Response']", [ENVELOPED, C14N], 'http://www.w3.org/2001/04/xmlenc#sha256')
  signer.signingKey = asked.key
  signer.keyInfoProvider = {getKeyInfo: () => `<X509Data><X509Certificate>${asked.cert.replace(/-----[^-]+-----|\s/g, '')}</X509Certificate></X509Data>`}
  signer.computeSignature(text, {location: {action: 'after', reference: "/*[local-name(.)='Response']/*[local-name(.)='Issuer']"}})
  return signer.getSignedXml()
}

for await (const line of createInterface({input: process.stdin})) {
  const asked = JSON.parse(line)
  let answer
  try {
    answer = asked.inflate ? {xml: inflateRawSync(Buffer.from(asked.inflate, 'base64')).toString()} : await respond(asked)
  } catch (error) {
    answer = {error: String(error)}
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
