/** The ceiling of reading: `eth_getLogs` over the whole chain, three in flight, and `JSON.parse`. Nothing else. */
import { ranges } from "./ranges.ts";

const began = performance.now();
let events = 0;
for await (const logs of ranges()) {
  events += logs.length;
  console.log(`done ${events}`);
}
console.log(`rate ${Math.round(events / ((performance.now() - began) / 1_000))}`);
await new Promise(() => setInterval(() => {}, 1_000));
