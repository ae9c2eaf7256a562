/** The tests of `npm test` that ava.pure.config.js leaves: one file at a time, since they share the machine. */
import pure from './ava.pure.config.js';

export default { ...pure, files: ['test/**/*.test.ts', ...pure.files.map((pattern) => `!${pattern}`)], concurrency: 1 };
