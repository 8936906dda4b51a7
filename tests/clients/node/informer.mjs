// The JavaScript client with an informer, against a cluster: node informer.mjs. Reads $KUBECONFIG; finds the client in
// the folder of $CORACLE_NODE_MODULES.
//
// Between the client and the cluster stands a proxy whose connections can be cut: what happens meanwhile is made up for
// when the informer has connected again.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import net from 'node:net';

const modules = process.env.CORACLE_NODE_MODULES ?? process.cwd();
const k8s = await import(createRequire(`${modules}/`).resolve('@kubernetes/client-node'));

const NAMESPACE = 'default';
const PATH = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const TIMEOUT_MS = 60_000;
const RESTART_MS = 100;

/** Passes bytes on, until it is cut. */
function proxy(target) {
  const open = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => { open.delete(from); to.destroy(); });
      from.pipe(to);
    }
  });
  const cut = () => open.forEach((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ server, cut, port: server.address().port }));
  });
}

function configMap(name, data) {
  return { metadata: { name, labels: { app: 'informer' } }, data };
}

const direct = new k8s.KubeConfig();
direct.loadFromDefault();
const core = direct.makeApiClient(k8s.CoreV1Api);

const between = await proxy(new URL(direct.getCurrentCluster().server));
const cuttable = new k8s.KubeConfig();
cuttable.loadFromString(direct.exportConfig());
cuttable.clusters = cuttable.clusters.map((it) => ({ ...it, server: `https://127.0.0.1:${between.port}` }));
const watched = cuttable.makeApiClient(k8s.CoreV1Api);

const events = [];
let wake = () => {};
const heard = (kind) => (it) => { events.push(`${kind} ${it?.metadata?.name ?? ''}`.trim()); wake(); };

/** Waits until an event has been heard. */
async function until(event) {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!events.includes(event)) {
    assert(Date.now() < deadline, `waited for "${event}", and heard ${JSON.stringify(events)}`);
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 1000); });
  }
}

const list = () => watched.listNamespacedConfigMap({ namespace: NAMESPACE, labelSelector: 'app=informer' });
const informer = k8s.makeInformer(cuttable, PATH, list, 'app=informer');
for (const kind of ['add', 'update', 'delete']) informer.on(kind, heard(kind));
informer.on('connect', heard('connect'));
informer.on('error', (error) => {
  heard('error')();
  // As the client's documentation has it: who is told of an error starts again.
  setTimeout(() => informer.start().catch(() => {}), RESTART_MS);
});

await core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap('early', {}) });
await informer.start();
await until('add early');

await core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap('one', { a: '1' }) });
await until('add one');
const one = await core.readNamespacedConfigMap({ namespace: NAMESPACE, name: 'one' });
await core.replaceNamespacedConfigMap({ namespace: NAMESPACE, name: 'one', body: { ...one, data: { a: '2' } } });
await until('update one');
assert.equal(informer.get('one', NAMESPACE).data.a, '2');
await core.deleteNamespacedConfigMap({ namespace: NAMESPACE, name: 'one' });
await until('delete one');

// Nothing is missed of what happens while nobody can be told.
between.cut();
await core.deleteNamespacedConfigMap({ namespace: NAMESPACE, name: 'early' });
await core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap('late', {}) });
await until('delete early');
await until('add late');
assert(events.includes('error'), `it was told of the cut: ${JSON.stringify(events)}`);
assert.deepEqual(informer.list(NAMESPACE).map((it) => it.metadata.name), ['late']);

// And it goes on.
const patch = [{ op: 'add', path: '/data', value: { b: '1' } }];
await core.patchNamespacedConfigMap(
  { namespace: NAMESPACE, name: 'late', body: patch },
  k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
);
await until('update late');
await assert.rejects(
  core.createNamespacedConfigMap({ namespace: NAMESPACE, body: configMap('late', {}) }),
  (error) => error.code === 409 && JSON.parse(error.body).reason === 'AlreadyExists',
);

await informer.stop();
between.cut();
between.server.close();
process.exit(0);
