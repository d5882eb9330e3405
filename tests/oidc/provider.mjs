// A real OpenID Connect provider for the sign-in tests: npm's oidc-provider on a free loopback port, and beside it a
// control port on which a test plays the person at the browser, the operator who rotates keys, and bad weather.
//
// Prints one line of JSON with both addresses, and ends when its standard input does: a test that dies leaves
// nothing behind.
//
// Arguments: a file in which it keeps what it knows, so that one that was killed and started again goes on where it was;
// and the two ports, 0 for any.

import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

// The store outlives the provider object, so that keys can be rotated while a sign-in is under way.
const store = new Map();
const people = new Map();
const weather = { interval: null, slowDown: 0, sky: 'clear', lifetime: 600, refusing: false };
const seen = { requests: 0, polls: [], keySets: 0, discoveries: 0, refreshes: 0, secrets: [] };

// Every change is a line: a kill at any moment loses none that was answered for.
const [, , file, frontPort = '0', deskPort = '0'] = process.argv;
let signing;
const recall = {
  put: (key, payload) => store.set(key, payload),
  drop: (key) => store.delete(key),
  person: (sub, claims) => (claims ? people.set(sub, claims) : people.delete(sub)),
  weather: (order) => Object.assign(weather, order),
  sign: (key) => { signing = key; },
};
if (existsSync(file)) {
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const [what, ...told] = JSON.parse(line);
    recall[what](...told);
  }
}
function keep(what, ...told) {
  recall[what](...told);
  appendFileSync(file, `${JSON.stringify([what, ...told])}\n`);
}

class Shelf {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) { keep('put', this.key(id), payload); }
  async find(id) { return store.get(this.key(id)); }
  async findBy(test) {
    for (const [key, payload] of store) if (key.startsWith(`${this.model}:`) && test(payload)) return payload;
    return undefined;
  }
  async findByUid(uid) { return this.findBy((payload) => payload.uid === uid); }
  async findByUserCode(code) { return this.findBy((payload) => payload.userCode === code); }
  async consume(id) {
    const key = this.key(id);
    keep('put', key, { ...store.get(key), consumed: Math.floor(Date.now() / 1000) });
  }
  async destroy(id) { keep('drop', this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of store) if (payload.grantId === grantId) keep('drop', key);
  }
}

function signingKey(alg) {
  const pair = {
    RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  }[alg]();
  return { ...pair.privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() };
}

function provider(issuer) {
  const made = new Provider(issuer, {
    adapter: Shelf,
    clients: [{
      client_id: 'bastion', token_endpoint_auth_method: 'none', redirect_uris: [], response_types: [],
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'], id_token_signed_response_alg: signing.alg,
    }],
    jwks: { keys: [signing] },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    claims: {
      openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'],
    },
    conformIdTokenClaims: false, // the claims are wanted in the ID token itself
    ttl: { DeviceCode: () => weather.lifetime, IdToken: 300, AccessToken: 300, Grant: 6000, RefreshToken: 6000 },
    cookies: { keys: [randomUUID()] },
    findAccount: (_ctx, sub) => (people.has(sub) ? { accountId: sub, claims: () => people.get(sub) } : undefined),
  });
  made.use(async (ctx, next) => {
    if (ctx.path === '/token' && weather.refusing) {
      ctx.status = 400;
      ctx.body = { error: 'invalid_client' };
      return;
    }
    if (ctx.path === '/token') {
      seen.polls.push(Math.round(performance.now())); // no clock that somebody may set
      if (weather.slowDown > 0) {
        weather.slowDown -= 1;
        ctx.status = 400;
        ctx.body = { error: 'slow_down' };
        return;
      }
    }
    if (ctx.path === '/jwks') seen.keySets += 1;
    if (ctx.path.startsWith('/.well-known/')) seen.discoveries += 1;
    await next();
    if (ctx.path === '/token' && ctx.oidc?.params?.grant_type === 'refresh_token') seen.refreshes += 1;
    if (ctx.path === '/device/auth' && ctx.status === 200) {
      seen.secrets.push(ctx.body.device_code);
      if (weather.interval !== null) ctx.body.interval = weather.interval;
    }
    if (ctx.path === '/token' && ctx.status === 200) {
      seen.secrets.push(ctx.body.id_token, ctx.body.access_token);
      if (ctx.body.refresh_token) seen.secrets.push(ctx.body.refresh_token);
    }
  });
  return made;
}

function listen(port, handler) {
  const server = createServer(handler);
  return new Promise((done) => server.listen(Number(port), '127.0.0.1', () => done(server)));
}

let answer = (_request, response) => response.end();
const front = await listen(frontPort, (request, response) => {
  seen.requests += 1;
  if (weather.sky === 'down') request.socket.destroy();
  else if (weather.sky === 'troubled') response.writeHead(503).end();
  else if (weather.sky === 'clear') answer(request, response);
  else if (weather.sky === 'mute') {
    response.end = () => response;
    answer(request, response);
  }
  // else: hanging, and nothing is ever said
});
const issuer = `http://127.0.0.1:${front.address().port}`;
if (!signing) keep('sign', signingKey('RS256'));
let current = provider(issuer);
answer = current.callback();

async function codeOf({ user_code: shown }) {
  const code = await current.DeviceCode.findByUserCode(shown.replace(/-/g, ''));
  if (!code) throw new Error(`no such user code: ${shown}`);
  return code;
}

const control = {
  async approve(order) {
    const code = await codeOf(order);
    const { person } = order;
    keep('person', person.sub, person);
    const grant = new current.Grant({ accountId: person.sub, clientId: code.clientId });
    grant.addOIDCScope(code.params.scope);
    const authTime = Math.floor(Date.now() / 1000);
    const grantId = await grant.save();
    Object.assign(code, { accountId: person.sub, grantId, scope: code.params.scope, authTime });
    await code.save();
  },
  async deny(order) {
    const code = await codeOf(order);
    Object.assign(code, { error: 'access_denied', errorDescription: 'the person said no' });
    await code.save();
  },
  async expire(order) {
    const code = await codeOf(order);
    const key = `DeviceCode:${code.jti}`;
    keep('put', key, { ...store.get(key), exp: Math.floor(Date.now() / 1000) - 1 });
  },
  // What the provider says of somebody from now on; nothing any more if she has left.
  async person({ sub, ...changes }) {
    keep('person', sub, changes.gone ? null : { ...people.get(sub), ...changes });
  },
  async rotate({ alg }) {
    keep('sign', signingKey(alg));
    current = provider(issuer);
    answer = current.callback();
  },
  async weather(order) { keep('weather', order); },
  async seen() {
    return { ...seen, pending: [...store.keys()].filter((key) => key.startsWith('DeviceCode:')).length };
  },
};

const desk = await listen(deskPort, async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const order = JSON.parse(Buffer.concat(chunks).toString() || '{}');
    const told = await control[request.url.slice(1)](order);
    response.end(JSON.stringify(told ?? {}));
  } catch (error) {
    response.writeHead(400).end(String(error));
  }
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
console.log(JSON.stringify({ issuer, control: `127.0.0.1:${desk.address().port}` }));
