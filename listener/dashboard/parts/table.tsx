import type { ComponentChildren } from "preact";
import { Scroll } from "./panel.tsx";

export type Column<Row> = { title: string; class?: string; cell(row: Row): ComponentChildren };

/** Rows under titles, scrolled in their place. `class` is of the title and of every cell below it. */
export function Table<Row>(props: { name: string; columns: readonly Column<Row>[]; rows: readonly Row[]; keyOf(row: Row): string }) {
  const { name, columns, rows, keyOf } = props;
  return (
    <Scroll name={name} class="tall">
      <table>
        <thead>
          <tr>
            {columns.map(column => (
              <th key={column.title} scope="col" class={column.class}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(row => (
            <tr key={keyOf(row)}>
              {columns.map(column => (
                <td key={column.title} class={column.class}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
