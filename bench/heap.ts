import { eventually } from "../test/support/eventually.ts";

/**
 * Memory of another process in MB. `resident` is all that it has of the machine, garbage included. Once the garbage is
 * collected: `kept` is what it still has of the machine, `heap` what its scripts hold, `buffers` what lies outside the heap.
 */
export type Memory = { resident: number; kept: number; heap: number; buffers: number };

export type Heap = {
  /** Looks, collects the garbage of the process, and looks again. */
  look(): Promise<Memory>;
  startProfile(): Promise<void>;
  /** What the process did since `startProfile`, as Chrome's developer tools read it. */
  endProfile(): Promise<string>;
  close(): void;
};

/** What to set for the Node of a process that `openHeap` shall look into. */
export const inspectable = (port: number) => ({ NODE_OPTIONS: `--inspect=127.0.0.1:${port}` });

type Usage = { rss: number; heapUsed: number; external: number };

/** Looks into a process through Node's inspector, so that nothing of it is in the product. */
export async function openHeap(port: number): Promise<Heap> {
  const [target] = await eventually(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/json/list`);
    return (await response.json()) as { webSocketDebuggerUrl: string }[];
  });
  const socket = new WebSocket(target!.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const waiting = new Map<number, (result: never) => void>();
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(String(data));
    waiting.get(id)?.(result as never);
    waiting.delete(id);
  };
  let last = 0;
  const ask = <Result>(method: string, params: object = {}) =>
    new Promise<Result>(resolve => {
      last += 1;
      waiting.set(last, resolve);
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  const usage = async () => {
    const expression = "process.memoryUsage()";
    const { result } = await ask<{ result: { value: Usage } }>("Runtime.evaluate", { expression, returnByValue: true });
    return result.value;
  };
  const mb = (bytes: number) => Math.round(bytes / 1e5) / 10;
  return {
    async look() {
      const { rss: resident } = await usage();
      await ask("HeapProfiler.collectGarbage");
      const { rss: kept, heapUsed, external } = await usage();
      return { resident: mb(resident), kept: mb(kept), heap: mb(heapUsed), buffers: mb(external) };
    },
    async startProfile() {
      await ask("Profiler.enable");
      await ask("Profiler.start");
    },
    async endProfile() {
      const { profile } = await ask<{ profile: object }>("Profiler.stop");
      return JSON.stringify(profile);
    },
    close: () => socket.close(),
  };
}
