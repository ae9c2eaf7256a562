/**
 * A job's error on its way to the main thread, as text in shared memory: its class by name, code, message, stack and causes.
 * So the error that `wait` throws says as much as the job's own. No I/O.
 */
import { inspect } from 'node:util';
import { SystemError, VirtioPmdError, type ErrorCode } from '../../native/errors.js';

/** An error as plain data. */
interface Told {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Its own properties of simple types: code, errno, syscall, path, ... */
  readonly properties: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: Told | { readonly value: string };
}

interface Failure {
  readonly where: string;
  /** What happened when there was no error. */
  readonly reason?: string;
  readonly error?: Told;
}

const MAX_CAUSES = 8;
const MAX_PROPERTIES = 16;
/** Characters of each text at first; it is halved until all of them together fit. */
const MAX_TEXT = 8192;

/** @returns at most `limit` bytes of UTF-8; long texts are cut. Never throws, whatever `error` is. */
export function encodeFailure(error: unknown, where: string, limit: number): Uint8Array {
  for (let length = MAX_TEXT; ; length >>= 1) {
    const failure = describeFailure(error, where.slice(0, length), length);
    const bytes = new TextEncoder().encode(JSON.stringify(failure));
    if (bytes.length <= limit) return bytes;
  }
}

/** The error for the thread that waits for the job: the job's own is its `cause`. @param bytes as `encodeFailure` returned them. */
export function decodeFailure(bytes: Uint8Array): VirtioPmdError {
  const { where, reason, error } = JSON.parse(new TextDecoder().decode(bytes)) as Failure;
  if (error === undefined) return new VirtioPmdError('ELCORE', `${where}: ${reason}`);
  const cause = rebuild(error);
  return new VirtioPmdError(cause instanceof VirtioPmdError ? cause.code : 'ELCORE', `${where}: ${error.message}`, {
    cause,
  });
}

function describeFailure(error: unknown, where: string, length: number): Failure {
  try {
    if (error instanceof Error) return { where, error: describe(error, length, 0) };
    return { where, reason: text(typeof error === 'string' ? error : inspect(error, { depth: 1 }), length) };
  } catch (odd) {
    return { where, reason: text(`an error that has no text (${String(odd)})`, length) };
  }
}

function text(value: unknown, length: number): string {
  const whole = String(value);
  return whole.length <= length ? whole : `${whole.slice(0, length)}...`;
}

function describe(error: Error, length: number, depth: number): Told {
  const properties: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(error).slice(0, MAX_PROPERTIES)) {
    if (['name', 'message', 'stack', 'cause'].includes(key)) continue;
    if (typeof value === 'string') properties[key] = text(value, length);
    else if (typeof value === 'number' || typeof value === 'boolean') properties[key] = value;
  }
  return {
    name: text(error.name, length),
    message: text(error.message, length),
    ...(typeof error.stack === 'string' && { stack: text(error.stack, length) }),
    properties,
    ...causeOf(error, length, depth + 1),
  };
}

function causeOf({ cause }: Error, length: number, depth: number): Pick<Told, 'cause'> {
  if (cause === undefined || depth > MAX_CAUSES) return {};
  if (cause instanceof Error) return { cause: describe(cause, length, depth) };
  return { cause: { value: text(typeof cause === 'string' ? cause : inspect(cause, { depth: 1 }), length) } };
}

const classes: Readonly<Record<string, ErrorConstructor>> = {
  ...{ Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError },
};

function rebuild({ name, message, stack, properties, cause: told }: Told): Error {
  const cause = told === undefined || !('value' in told) ? told && rebuild(told) : told.value;
  const error = make(name, message, properties, cause === undefined ? undefined : { cause });
  for (const [key, value] of Object.entries(properties)) {
    if (!(key in error)) Object.defineProperty(error, key, { value, enumerable: true });
  }
  const hidden = { writable: true, configurable: true };
  if (error.message !== message) Object.defineProperty(error, 'message', { value: message, ...hidden });
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, ...hidden });
  if (stack !== undefined) Object.defineProperty(error, 'stack', { value: stack, ...hidden });
  return error;
}

function make(name: string, message: string, properties: Told['properties'], options?: { cause: unknown }): Error {
  const { code, syscall, errno } = properties;
  if (name === 'VirtioPmdError' && typeof syscall === 'string') return new SystemError(syscall, String(errno));
  if (name === 'VirtioPmdError') return new VirtioPmdError(code as ErrorCode, message, options);
  const Class = Object.hasOwn(classes, name) ? classes[name]! : Error;
  return new Class(message, options);
}
