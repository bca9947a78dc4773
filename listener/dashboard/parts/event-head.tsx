/** The columns of a table of events. */
export function EventHead() {
  return (
    <thead>
      <tr>
        <th scope="col" class="number">
          Block
        </th>
        <th scope="col">Event</th>
        <th scope="col">Arguments</th>
        <th scope="col">State</th>
        <th scope="col" class="number">
          Age
        </th>
      </tr>
    </thead>
  );
}
