/** Whether stdout is a terminal that supports escape codes. */
export function understandsEscapes(): boolean {
  const { TERM } = process.env;
  return process.stdout.isTTY && TERM !== undefined && TERM !== '' && TERM !== 'dumb';
}
