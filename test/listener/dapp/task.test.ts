import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defineApp } from "../../../listener/app.ts";
import { contracts, task } from "../../../listener/dapp/contracts.ts";

describe("task", () => {
  it("is a route of its own name that waits for finality, one event per job", async () => {
    const ran: bigint[] = [];
    const line = task({
      name: "mail",
      events: ["SluiceToken.Transfer"],
      attempts: 7,
      orderBy: event => event.arguments.from,
      async run(event) {
        ran.push(event.arguments.value);
      },
    });
    const [route] = defineApp({ contracts, routes: [line] }).routes;
    const { queue, finality, batch, attempts, orderBy } = route!;
    assert.deepEqual({ queue, finality, batch, attempts }, { queue: "mail", finality: "finalized", batch: 1, attempts: 7 });
    const event = { arguments: { from: "0x01", value: 5n } } as never;
    assert.equal(orderBy!(event), "0x01");
    await route!.task!.run(event, {} as never);
    assert.deepEqual(ran, [5n]);
  });

  // The type check fails on an expected error that is not one.
  it("does not compile for an event or an argument that the ABI does not have", () => {
    // @ts-expect-error: no such event
    const unknown = task({ name: "mail", events: ["SluiceToken.Trasnfer"], async run() {} });
    assert.throws(() => defineApp({ contracts, routes: [unknown] }), /no contract has an event SluiceToken.Trasnfer/);
    task({
      name: "mail",
      events: ["SluiceToken.Transfer"],
      async run(event) {
        // @ts-expect-error: no such argument
        event.arguments.amount;
      },
    });
    task({
      name: "mail",
      events: ["SluiceToken.Transfer"],
      // @ts-expect-error: an amount is a bigint
      orderBy: event => event.arguments.value,
      async run() {},
    });
  });
});
