// Makes tenants with an ES256 key pair and one access token each, for runs without a businessos binary.
//
//   node make-tokens.mjs COUNT BASE_DOMAIN LIFETIME_S > tenants.json
//
// The claims are those of businessos's own tokens, so that the gateways parse as much JSON as with real ones.
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';

const [count, baseDomain, lifetime] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])];
if (!Number.isInteger(count) || count < 1 || !baseDomain || !(lifetime > 0)) {
  console.error('usage: make-tokens.mjs COUNT BASE_DOMAIN LIFETIME_S');
  process.exit(2);
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = Math.floor(Date.now() / 1000);
const tenants = [];

for (let n = 0; n < count; n += 1) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const slug = `bench-${n}`;
  const host = `${slug}.${baseDomain}`;
  const id = randomUUID();
  const claims = {
    iss: `http://${host}`, aud: 'businessos', sub: randomUUID(), tid: id, sid: randomUUID(), jti: randomUUID(),
    iat: now, nbf: now, exp: now + lifetime, auth_time: now, acr: 'aal1', amr: ['pwd'], roles: ['owner'], epoch: 0,
  };
  const signed = `${part({ alg: 'ES256', typ: 'at+jwt', kid: randomUUID() })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  tenants.push({
    id, slug, host, plan: 'free', region: 'global', token: `${signed}.${signature.toString('base64url')}`,
    pem: publicKey.export({ type: 'spki', format: 'pem' }),
  });
}
process.stdout.write(JSON.stringify(tenants));
