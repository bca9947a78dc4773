import type { ComponentChildren } from "preact";

/** One number that matters. */
export const Tile = (props: { name: string; value?: string; unit?: string; children?: ComponentChildren }) => (
  <div class="tile">
    <dt>{props.name}</dt>
    <dd>
      {props.value !== undefined && <span class="figure">{props.value}</span>}
      {props.unit !== undefined && <span class="unit">{props.unit}</span>}
      {props.children}
    </dd>
  </div>
);
