/** Whether stdout is a terminal that takes escape codes. */
export function understandsEscapes(): boolean {
  const { TERM } = process.env;
  return process.stdout.isTTY && TERM !== undefined && TERM !== '' && TERM !== 'dumb';
}
