// The gateway as an Express stack: helmet, cors, express-rate-limit, an authentication middleware that verifies the
// tenant's ES256 token and sets req.tenantId, one log line for each request, http-proxy-middleware to the service.
//
//   PORT UPSTREAM TENANTS WORKERS LIMIT BASE_DOMAIN as environment; WORKERS=1 runs without the cluster module.
//
// It is tuned where its makers say so: NODE_ENV=production, parsed keys, keep-alive to the upstream.
import cluster from 'node:cluster';
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { randomUUID } from 'node:crypto';
import cors from 'cors';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import helmet from 'helmet';
import { createProxyMiddleware } from 'http-proxy-middleware';
import jwt from 'jsonwebtoken';

const { PORT, UPSTREAM, TENANTS, WORKERS, LIMIT, BASE_DOMAIN } = process.env;

function serve() {
  const tenants = new Map(
    JSON.parse(readFileSync(TENANTS, 'utf8')).map((tenant) => [tenant.slug, { ...tenant, key: createPublicKey(tenant.pem) }]),
  );
  const suffix = `.${BASE_DOMAIN}`;

  const log = (req, res, next) => {
    const start = process.hrtime.bigint();
    req.requestId = randomUUID();
    res.on('finish', () => {
      const us = Number((process.hrtime.bigint() - start) / 1000n);
      process.stdout.write(`${JSON.stringify({
        time: Date.now(), id: req.requestId, tenant: req.tenantId, method: req.method, path: req.originalUrl, status: res.statusCode, us,
      })}\n`);
    });
    next();
  };

  const authenticate = (req, res, next) => {
    const host = req.hostname;
    const slug = host.endsWith(suffix) ? host.slice(0, -suffix.length) : req.get('x-tenant');
    const tenant = tenants.get(slug);
    if (!tenant) return res.status(404).json({ code: 'tenant-unknown' });
    const [scheme, token] = (req.get('authorization') ?? '').split(' ');
    if (scheme !== 'Bearer' || !token) return res.status(401).json({ code: 'unauthenticated' });
    let claims;
    try {
      claims = jwt.verify(token, tenant.key, { algorithms: ['ES256'] });
    } catch {
      return res.status(401).json({ code: 'unauthenticated' });
    }
    if (claims.tid !== tenant.id) return res.status(403).json({ code: 'tenant-mismatch' });
    req.tenantId = tenant.id;
    for (const name of Object.keys(req.headers)) if (/^x-(tenant|user|auth)-/.test(name)) delete req.headers[name];
    Object.assign(req.headers, {
      'x-tenant-id': tenant.id, 'x-tenant-slug': tenant.slug, 'x-tenant-plan': tenant.plan, 'x-tenant-region': tenant.region,
      'x-user-id': claims.sub, 'x-user-roles': claims.roles.join(','), 'x-request-id': req.requestId,
    });
    return next();
  };

  const limit = rateLimit({
    windowMs: 60_000, limit: Number(LIMIT), standardHeaders: 'draft-8', legacyHeaders: false, keyGenerator: (req) => req.tenantId,
  });

  const app = express();
  app.use(log, helmet(), cors(), authenticate, limit);
  app.use('/crm', createProxyMiddleware({ target: UPSTREAM, agent: new Agent({ keepAlive: true, maxSockets: 256 }), xfwd: true }));
  app.listen(Number(PORT), '127.0.0.1', 4096);
}

if (Number(WORKERS) > 1 && cluster.isPrimary) {
  for (let n = 0; n < Number(WORKERS); n += 1) cluster.fork();
  cluster.on('exit', () => process.exit(1));
  process.on('SIGTERM', () => process.exit(0));
} else {
  serve();
}
