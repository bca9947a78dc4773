import { z } from "zod";
import { wholeOr } from "./schemas.ts";

const VERSION = 1;
export const MAX_LIMIT = 200;
export const DEFAULT_LIMIT = 50;

/**
 * What a list takes and gives: `query` has `limit` and `cursor`, `response` has `items` and `nextCursor`.
 *
 * The cursor is the place of the last item, opaque to the outside: a version and the list's name go with it, so that one of
 * another list or of another time is refused and not misread.
 *
 * @param place what finds an item's place again, such as its position
 */
export function listOf<Item extends z.ZodType, Place extends z.ZodType>(list: string, item: Item, place: Place) {
  const cursor = cursorOf(list, place);
  return {
    query: {
      limit: wholeOr(DEFAULT_LIMIT, 1, MAX_LIMIT, "how many items at most"),
      cursor: cursor.optional().describe("nextCursor of the page before"),
    },
    response: z.object({
      items: z.array(item),
      nextCursor: cursor.nullable().describe("for the next page; null on the last one"),
    }),
  };
}

/**
 * A page out of one row more than it may hold: that one only says whether there are more.
 *
 * @param rows at most `limit + 1`, in order
 */
export function pageOf<Row, Place>(rows: readonly Row[], limit: number, placeOf: (row: Row) => Place) {
  const items = rows.slice(0, limit);
  return { items, nextCursor: rows.length > limit ? placeOf(items.at(-1)!) : null };
}

function cursorOf<Place extends z.ZodType>(list: string, place: Place) {
  const encode = (value: unknown) => Buffer.from(JSON.stringify([VERSION, list, value])).toString("base64url");
  return z
    .codec(z.string(), place, {
      decode(text, context) {
        const refuse = () => {
          context.issues.push({ code: "custom", input: text, message: `not a cursor of this list: pass on a nextCursor of ${list}` });
          return z.NEVER as never;
        };
        try {
          const [version, of, value] = JSON.parse(Buffer.from(text, "base64url").toString()) as unknown[];
          if (version !== VERSION || of !== list || encode(value) !== text) return refuse();
          return place.safeParse(value).success ? (value as z.input<Place>) : refuse();
        } catch {
          return refuse();
        }
      },
      encode,
    })
    .meta({ type: "string", description: "opaque" });
}
