// bunqueue's workflow engine, embedded, on a SQLite file; its one durability is what perdure calls "normal".
// Called as: bun run bunqueue_peer.ts bunqueue WORKLOAD OPTIONS, and prints JSON as its last line.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'benchmark-'));
const home = join(import.meta.dir, '..', '.peers', 'bunqueue', 'node_modules', 'bunqueue');
const { Engine, Workflow } = await import(join(home, 'dist', 'client', 'workflow', 'index.js'));

const INPUT = { order: 42, items: ['tea', 'milk'], total: 12.5 };
const noop = async () => ({ ok: true });

type Figures = Record<string, number>;
const ended = new Map<string, () => void>();
const already = new Set<string>();

function open(concurrency: number) {
  const engine = new Engine({ embedded: true, dataPath: join(folder, 'bunqueue.db'), concurrency });
  engine.on('workflow:completed', (event: { executionId: string }) => {
    const tell = ended.get(event.executionId);
    if (tell) tell();
    else already.add(event.executionId);
  });
  return engine;
}

function end(id: string): Promise<void> {
  if (already.delete(id)) return Promise.resolve();
  return new Promise((resolve) => ended.set(id, () => { ended.delete(id); resolve(); }));
}

function straight(steps: number) {
  let workflow = new Workflow(`straight-${steps}`);
  for (let number = 0; number < steps; number++) workflow = workflow.step(`step-${number}`, noop);
  return workflow;
}

async function run(engine: any, name: string): Promise<void> {
  const { id } = await engine.start(name, INPUT);
  await end(id);
}

async function rate(once: () => Promise<void>, inFlight: number, seconds: number): Promise<number> {
  const drive = async (duration: number) => {
    const deadline = performance.now() + 1000 * duration;
    const call = async () => {
      let runs = 0;
      for (; performance.now() < deadline; runs++) await once();
      return runs;
    };
    return (await Promise.all(Array.from({ length: inFlight }, call))).reduce((sum, runs) => sum + runs, 0);
  };
  await drive(Math.min(0.3, seconds / 2));
  const began = performance.now();
  const runs = await drive(seconds);
  return runs / ((performance.now() - began) / 1000);
}

async function latencies(action: () => Promise<number | void>, seconds: number, least = 20): Promise<Figures> {
  for (let number = 0; number < Math.max(3, least / 4); number++) await action();
  const found: number[] = [];
  const deadline = performance.now() + 1000 * seconds;
  while (performance.now() < deadline || found.length < least) {
    const began = performance.now();
    found.push((await action()) ?? performance.now() - began);
  }
  found.sort((one, other) => one - other);
  const sum = found.reduce((total, one) => total + one, 0);
  const at = (share: number) => found[Math.min(found.length - 1, Math.floor(found.length * share))];
  return { p50: at(0.5), p99: at(0.99), runs: (1000 * found.length) / sum };
}

const workloads: Record<string, (options: any) => Promise<Figures>> = {
  async throughput({ in_flight, seconds }) {
    const engine = open(in_flight).register(straight(3));
    const runs = await rate(() => run(engine, 'straight-3'), in_flight, seconds);
    return { runs };
  },

  async latency({ steps, seconds }) {
    const engine = open(5).register(straight(steps));
    return await latencies(() => run(engine, `straight-${steps}`), seconds);
  },

  async signals({ seconds }) {
    let began = 0;
    const after = async () => { began = performance.now(); return {}; };
    const engine = open(5).register(new Workflow('gated').waitFor('go').step('after', after));
    return await latencies(async () => {
      const { id } = await engine.start('gated', INPUT);
      while (engine.getExecution(id)?.state !== 'waiting') await Bun.sleep(1);
      const called = performance.now();
      await engine.signal(id, 'go', {});
      await end(id);
      return began - called;
    }, seconds);
  },

  async nodes({ kind, seconds }) {
    const engine = open(50).register(straight(1));
    const items = Array.from({ length: 100 }, (_, index) => index);
    const workflow = new Workflow(kind);
    if (kind === 'for_each') workflow.forEach(() => items, 'item', noop);
    else if (kind === 'parallel') workflow.parallel((group: any) => items.slice(0, 50).reduce((w, n) => w.step(`strand-${n}`, noop), group));
    else workflow.subWorkflow('straight-1', () => INPUT);
    engine.register(workflow);
    return await latencies(() => run(engine, kind), seconds, 5);
  },

  async waiting({ count }) {
    const gated = new Workflow('gated').waitFor('go').step('after', noop);
    const engine = open(50).register(gated);
    let parked = 0;
    let allParked = () => {};
    engine.on('workflow:waiting', () => { if (++parked === count) allParked(); });
    let began = performance.now();
    const parking = new Promise<void>((resolve) => { allParked = resolve; });
    const ids: string[] = [];
    for (let number = 0; number < count; number++) ids.push((await engine.start('gated', INPUT)).id);
    await parking;
    const create = (performance.now() - began) / 1000;
    began = performance.now();
    await Promise.all(ids.map(async (id) => { await engine.signal(id, 'go', {}); await end(id); }));
    return { create, resume: (performance.now() - began) / 1000 };
  },
};

const [, workload, options] = process.argv.slice(2);
const figures = await workloads[workload](JSON.parse(options));
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify(figures));
process.exit(0);
