#!/usr/bin/env node
// What a page of the web can do to a hub on the machine of whoever looks at it: nothing. A real browser (Chromium, driven by
// playwright-core) loads a page of another origin, which tries every way a page has of sending a request: each must
// be answered with a refusal and leave the hub as it was. The same attempts as bytes, for browsers that send less.
import { createServer } from 'node:http';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { WebSocket } from 'ws';
import { FakeNode, Hub, run, check, equal, raw, until, skipped, Skip, SLOW, TMP } from './lib.mjs';

const BROWSER = process.env.CHROMIUM ?? '/usr/bin/chromium';
const hub = await new Hub({ args: ['--set', 'hosts=shoal.example', '--set', 'origins=https://shoal.example'] }).start();
await hub.ok('PUT', '/v1/kinds/test.job');
await hub.ok('PUT', '/v1/kinds/test.secret');
await hub.ok('PUT', '/v1/queues/target', {});
const victim = await hub.submit({ kind: 'test.job', queue: 'target', input: { secret: 'not for pages' } });
const secret = await hub.submit({ kind: 'test.secret', input: { secret: 'not for pages' } });
const node = await new FakeNode(hub.port, { name: 'n1', kinds: ['test.other'] }).connect();

// Everything that a request could have changed.
async function state() {
  const of = async (target) => (await hub.ok('GET', target)).items;
  return {
    tasks: (await of('/v1/tasks?limit=1000')).map((t) => [t.id, t.state, t.attempts]),
    queues: (await of('/v1/queues?limit=1000')).map((q) => [q.name, q.paused]),
    kinds: (await of('/v1/kinds?limit=1000')).map((k) => k.name),
    nodes: (await of('/v1/nodes?limit=1000')).map((n) => [n.name, n.state, n.draining, n.quiet]),
  };
}
const before = await state();
// Requests of others.
let own = 0;
const requests = async () => (await hub.ok('GET', '/v1/stats')).http.requests - ++own;
const unchanged = async (what) => equal(await state(), before, `after ${what} the hub is as it was`);

// A page of another origin: another port of the same address, which a browser calls the same site.
const page = createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html');
  response.end('<!doctype html><title>a page</title><body></body>');
});
await new Promise((resolve) => page.listen(0, '127.0.0.1', resolve));
const pageUrl = `http://127.0.0.1:${page.address().port}/`;

// What the page does, in the browser. Each gives a word for what became of it; what the hub says is checked by its state.
const attempts = {
  'fetch with a typeless Blob': async ({ url, submit }) => {
    const answer = await fetch(`${url}/v1/tasks`, { method: 'POST', body: new Blob([submit]) }).catch(() => null);
    return answer === null ? 'failed' : `read ${answer.status}`;
  },
  'fetch, no-cors, with a typeless Blob': async ({ url, submit }) => {
    const answer = await fetch(`${url}/v1/tasks`, { method: 'POST', mode: 'no-cors', body: new Blob([submit]) });
    return answer.type;
  },
  'fetch, no-cors, as text': async ({ url, submit }) => {
    return (await fetch(`${url}/v1/tasks`, { method: 'POST', mode: 'no-cors', body: submit })).type;
  },
  'fetch, no-cors, without a referrer': async ({ url, submit }) => {
    return (await fetch(`${url}/v1/tasks`, { method: 'POST', mode: 'no-cors', referrerPolicy: 'no-referrer', body: new Blob([submit]) })).type;
  },
  'fetch as JSON, which a browser asks about first': async ({ url, submit }) => {
    return fetch(`${url}/v1/tasks`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: submit })
      .then((a) => `read ${a.status}`, () => 'failed');
  },
  'bodyless verbs': async ({ url, verbs }) => {
    for (const verb of verbs) await fetch(url + verb, { method: 'POST', mode: 'no-cors' });
    return 'opaque';
  },
  'PUT, DELETE and PATCH, which a browser asks about first': async ({ url, id }) => {
    const all = [['PUT', '/v1/kinds/test.evil'], ['PUT', '/v1/queues/evil'], ['PUT', '/v1/blobs'], ['DELETE', `/v1/tasks/${id}`], ['PATCH', '/v1/queues/target']];
    const ends = await Promise.all(all.map(([method, target]) => fetch(url + target, { method, body: method === 'DELETE' ? undefined : '{"paused":true}' }).then(() => 'read', () => 'failed')));
    return [...new Set(ends)].join();
  },
  'sendBeacon': async ({ url, submit, verbs }) => {
    navigator.sendBeacon(`${url}/v1/tasks`, new Blob([submit]));
    navigator.sendBeacon(`${url}/v1/tasks`, submit);
    for (const verb of verbs) navigator.sendBeacon(url + verb);
    return 'sent';
  },
  'a form': async ({ url, submit, verbs }) => {
    for (const [target, type] of [['/v1/tasks', 'text/plain'], ['/v1/tasks', 'multipart/form-data'], ['/v1/tasks', 'application/x-www-form-urlencoded'], ...verbs.map((v) => [v, 'text/plain'])]) {
      const frame = document.createElement('iframe');
      frame.name = `f${Math.random()}`;
      const form = document.createElement('form');
      Object.assign(form, { method: 'POST', action: url + target, enctype: type, target: frame.name });
      const field = document.createElement('input');
      field.name = submit.slice(0, -1) + ',"queue":"';
      field.value = '"}';
      form.append(field);
      document.body.append(frame, form);
      const loaded = new Promise((resolve) => { frame.onload = resolve; });
      form.submit();
      await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, 3000))]);
    }
    return 'sent';
  },
  'images, scripts and EventSource': async ({ url, verbs }) => {
    for (const target of ['/v1/tasks', '/v1/stats', ...verbs]) {
      await new Promise((resolve) => { const image = new Image(); image.onload = image.onerror = resolve; image.src = url + target; });
    }
    await new Promise((resolve) => { const script = document.createElement('script'); script.onload = script.onerror = resolve; script.src = `${url}/v1/tasks`; document.body.append(script); });
    const source = new EventSource(`${url}/v1/tasks`);
    await new Promise((resolve) => { source.onopen = source.onerror = resolve; });
    source.close();
    return 'sent';
  },
  'reading what is there': async ({ url, id }) => {
    const ends = await Promise.all([`/v1/tasks/${id}`, '/v1/tasks', '/v1/stats', '/metrics', '/healthz'].map((t) => fetch(url + t).then((a) => a.text(), () => 'failed')));
    return [...new Set(ends)].join();
  },
  'the WebSocket of nodes': async ({ ws }) => {
    const socket = new WebSocket(`${ws}/v1/work`, 'shoal.work.v1');
    const got = [];
    socket.onmessage = (event) => got.push(event.data);
    const opened = await new Promise((resolve) => { socket.onopen = () => resolve(true); socket.onerror = socket.onclose = () => resolve(false); });
    if (opened) {
      socket.send(JSON.stringify({ type: 'hello', node: 'evil', instance: '00000000000000aa', kinds: ['test.job', 'test.secret'], labels: [], cpu_milli: 1000, memory_mib: 100, gpu: 0, credit: 5, held: [], info: {} }));
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    return `${opened ? 'opened' : 'failed'} ${got.join().includes('not for pages') ? 'and read a secret' : ''}`.trim();
  },
};
const wanted = { 'fetch with a typeless Blob': 'failed', 'fetch as JSON, which a browser asks about first': 'failed', 'reading what is there': 'failed',
  'PUT, DELETE and PATCH, which a browser asks about first': 'failed', 'the WebSocket of nodes': 'failed' };

let browser;
async function inBrowser(url, body) {
  const tab = await browser.newPage();
  try {
    await tab.goto(url);
    return await body(tab);
  } finally {
    await tab.close();
  }
}
const facts = (origin) => ({
  url: origin, ws: origin.replace('http', 'ws'), id: victim.id, submit: JSON.stringify({ kind: 'test.job' }),
  verbs: [`/v1/tasks/${victim.id}:cancel`, `/v1/tasks/${secret.id}:cancel`, `/v1/tasks/${victim.id}:retry`, '/v1/queues/target:pause', '/v1/nodes/n1:drain', '/v1/nodes/n1:quiet'],
});

const cases = {
  async 'a browser is there'() {
    if (!existsSync(BROWSER)) throw new Skip(`there is no ${BROWSER}`);
    const profile = path.join(TMP, 'browser');
    mkdirSync(profile, { recursive: true });
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: BROWSER, headless: true, chromiumSandbox: false, timeout: 60000 * SLOW,
      args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
        '--host-resolver-rules=MAP evil.example 127.0.0.1, MAP shoal.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
      env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile } });
    check(await inBrowser(pageUrl, (tab) => tab.title()) === 'a page', 'the page is shown');
  },
};
for (const [name, attempt] of Object.entries(attempts)) {
  for (const [whence, url] of [['another port', pageUrl], ['another site', pageUrl.replace('127.0.0.1', 'evil.example')]]) {
    cases[`from ${whence}: ${name}`] = async () => {
      if (!browser) throw new Skip('no browser');
      const seen = await requests();
      const end = await inBrowser(url, (tab) => tab.evaluate(attempt, facts(hub.url)));
      if (wanted[name]) equal(end, wanted[name], name);
      // What a page may send without asking does arrive: it is the hub that must say no.
      await until('the requests have come', 10000 * SLOW, async () => (await requests()) > seen);
      await unchanged(name);
    };
  }
}
Object.assign(cases, {
  async 'a name that was rebound to this address is another site, whatever its page does'() {
    if (!browser) throw new Skip('no browser');
    const rebound = `http://evil.example:${hub.port}`;
    const shown = await inBrowser(`${rebound}/v1/tasks`, (tab) => tab.evaluate(() => document.body.innerText));
    check(/unknown-host/.test(shown) && !/not for pages/.test(shown), `the hub says that this is not its name: ${shown}`);
    const end = await inBrowser(`${rebound}/healthz`, (tab) => tab.evaluate(async ({ submit, verbs, id }) => {
      const calls = [['POST', '/v1/tasks', submit], ['PUT', '/v1/kinds/test.evil', '{}'], ['GET', `/v1/tasks/${id}`], ...verbs.map((v) => ['POST', v])];
      const ends = [];
      for (const [method, target, body] of calls) {
        ends.push((await fetch(target, { method, body, headers: body ? { 'Content-Type': 'application/json' } : {} })).status);
      }
      return ends;
    }, facts(rebound)));
    check(end.length === 9 && end.every((status) => status === 421), `every request is refused: ${end}`);
    await unchanged('rebinding');
  },
  async 'a link from elsewhere may be followed, and a page of the hub itself may use it'() {
    if (!browser) throw new Skip('no browser');
    const shown = await inBrowser(pageUrl, async (tab) => {
      await tab.evaluate((url) => { location.href = `${url}/v1/tasks`; }, hub.url);
      await tab.waitForURL(`${hub.url}/v1/tasks`);
      return tab.evaluate(() => document.body.innerText);
    });
    check(/next_cursor/.test(shown), 'a click reads');
    // Nothing that the hub serves runs scripts; from a page of its origin they could.
    const status = await inBrowser(`${hub.url}/healthz`, (tab) => tab.evaluate(async () => (await fetch('/v1/queues/target', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{}' })).status));
    equal(status, 200, 'the same origin');
    await unchanged('its own page');
  },
  async 'the same as bytes: hosts and origins, with and without Sec-Fetch'() {
    const ask = async (line, headers, body = '') => {
      const text = await raw(hub.port, `${line} HTTP/1.1\r\nConnection: close\r\n${headers.map((h) => `${h}\r\n`).join('')}${body ? `Content-Length: ${body.length}\r\n` : ''}\r\n${body}`);
      return `${text.slice(9, 12)} ${/"code":"([^"]+)/.exec(text)?.[1] ?? ''}`.trim();
    };
    const own = `Host: 127.0.0.1:${hub.port}`;
    const json = 'Content-Type: application/json';
    const task = JSON.stringify({ kind: 'test.job' });
    const cancel = `POST /v1/tasks/${victim.id}:cancel`;
    const table = [
      ['421 unknown-host', 'GET /v1/tasks', ['Host: evil.example']],
      ['421 unknown-host', `GET http://evil.example/v1/tasks`, [own]],
      ['421 unknown-host', 'GET /healthz', ['Host: evil.example']],
      ['421 unknown-host', 'POST /v1/tasks', ['Host: evil.example', json], task],
      ['200', 'GET /healthz', ['Host: shoal.example']],
      ['200', 'GET /healthz', ['Host: localhost:1']],
      ['415 media-type', 'POST /v1/tasks', [own], task],
      ['415 media-type', 'POST /v1/tasks', [own, 'Content-Type: text/plain'], task],
      ['415 media-type', 'POST /v1/tasks:batch', [own, 'Content-Type: text/plain'], `[${task}]`],
      ['415 media-type', cancel, [own, 'Content-Type: multipart/form-data; boundary=x'], '{}'],
      ['415 media-type', 'PUT /v1/queues/target', [own], '{"paused":true}'],
      ['403 foreign-origin', 'POST /v1/tasks', [own, 'Origin: http://evil.example', json], task],
      ['403 foreign-origin', 'POST /v1/tasks', [own, 'Origin: null', json], task],
      ['403 foreign-origin', cancel, [own, 'Origin: http://evil.example']],
      ['403 foreign-origin', cancel, [own, `Origin: http://127.0.0.1:${hub.port + 1}`]],
      ['403 foreign-origin', cancel, [own, `Origin: https://evil.example`, 'Sec-Fetch-Site: same-origin']],
      ['403 foreign-origin', cancel, [own, 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate']],
      ['403 foreign-origin', cancel, [own, 'Sec-Fetch-Site: same-site']],
      ['400 bad-request', cancel, [own, 'Origin: https://shoal.example', 'Origin: http://evil.example']],
      ['400 bad-request', 'POST /v1/tasks', [own, json, 'Content-Type: text/plain'], task],
      ['403 foreign-origin', 'PUT /v1/blobs', [own, 'Origin: http://evil.example'], 'bytes'],
      ['403 foreign-origin', 'DELETE /v1/kinds/test.job', [own, 'Origin: http://evil.example']],
      ['404 not-found', 'POST /v1/tasks/0000000000000:cancel', [own, 'Origin: https://shoal.example', 'Sec-Fetch-Site: cross-site']],
    ];
    for (const [answer, line, headers, body] of table) equal(await ask(line, headers, body), answer, `${line} ${headers.join(', ')}`);
    await unchanged('bytes');
  },
  async 'one refusal does not cost the connection, and a refused WebSocket is answered in HTTP'() {
    const own = `Host: 127.0.0.1:${hub.port}\r\n`;
    const upgrade = `GET /v1/work HTTP/1.1\r\n${own}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: shoal.work.v1\r\n`;
    const text = await raw(hub.port, `POST /v1/tasks HTTP/1.1\r\n${own}Content-Length: 4\r\n\r\nabcd${upgrade}Origin: http://evil.example\r\n\r\nGET /healthz HTTP/1.1\r\n${own}Connection: close\r\n\r\n`);
    equal([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => m[1]), ['415', '403', '200'], 'three answers');
    for (const origin of ['http://evil.example', `http://127.0.0.1:${hub.port + 1}`, 'null']) {
      const socket = new WebSocket(`ws://127.0.0.1:${hub.port}/v1/work`, 'shoal.work.v1', { headers: { Origin: origin } });
      const end = await new Promise((resolve) => { socket.on('open', () => resolve('open')); socket.on('error', (e) => resolve(e.message)); });
      equal(end, 'Unexpected server response: 403', `a WebSocket for ${origin}`);
    }
    await unchanged('WebSockets');
  },
});
try {
  cases['everything ends'] = async () => {
    await browser?.close();
    page.close();
    await node.close();
    await hub.stop();
  };
  await run(cases);
} catch (error) {
  skipped(error);
}
