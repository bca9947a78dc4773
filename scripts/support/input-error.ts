/** Something a person gave is missing or wrong. The message is one line: what was given, what is expected, an example. */
export class InputError extends Error {
  override name = "InputError";
}
