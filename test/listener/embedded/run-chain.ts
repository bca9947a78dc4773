/**
 * Runs the chain of the directory that is given, sends one transaction after the other, and prints each block that was
 * answered for: it is killed in the middle of it.
 */
import { startChain } from "../../../listener/embedded/chain.ts";

const chain = await startChain({ dataDir: process.argv[2]! });
const [from, to] = await chain.request<string[]>("eth_accounts");
for (;;) {
  await chain.request("eth_sendTransaction", [{ from, to, value: "0x1" }]);
  const { number, hash } = await chain.request<{ number: string; hash: string }>("eth_getBlockByNumber", ["latest", false]);
  console.log(JSON.stringify({ number, hash }));
}
