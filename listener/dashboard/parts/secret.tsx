/** A secret that has just been made. It is shown here and nowhere again. */
export function Secret({ of }: { of: string | undefined }) {
  if (of === undefined) return null;
  return (
    <p class="secret" role="status">
      It signs with this secret, which is shown here and nowhere again: <code class="command">{of}</code>
    </p>
  );
}
