import type { z } from "zod";
import type { activity } from "../../api/activity.ts";
import type { deadLetterOf } from "../../api/dead-letters.ts";
import type { delivery } from "../../api/deliveries.ts";
import type { event } from "../../api/event.ts";
import type { eventTrace, told } from "../../api/event-trace.ts";
import type { queue } from "../../api/queues.ts";
import type { blockRef } from "../../api/schemas.ts";
import type { shown } from "../../api/sessions.ts";
import type { status } from "../../api/status.ts";
import type { endpoint } from "../../api/webhook-schemas.ts";
import type { attemptOfMessage } from "../../api/webhooks.ts";

/** What the API answers, as JSON: of each of its schemas the side that is outside. Types alone, nothing of it is in the page. */

export type BlockRef = z.input<typeof blockRef>;
export type Status = z.input<typeof status>;
export type Activity = z.input<typeof activity>;
export type EventView = z.input<typeof event>;
export type EventStatus = EventView["status"];
export type Delivery = z.input<typeof delivery>;
export type ToldWebhook = z.input<typeof told>;
export type EventTrace = z.input<typeof eventTrace>;
export type Queue = z.input<typeof queue>;
export type DeadLetter = z.input<typeof deadLetterOf>;
export type Attempt = z.input<typeof attemptOfMessage>;
export type Endpoint = z.input<typeof endpoint>;
/** What this browser may do here. `scope` is null without a session, where reads may be open all the same. */
export type Session = z.input<typeof shown>;

export type Page<Item> = { items: Item[]; nextCursor: string | null };
