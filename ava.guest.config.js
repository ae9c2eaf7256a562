/** `npm run test:guest`: a file of cases for each virtual machine that boots. */
export default {
  files: ['test/guest/*.case.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./tools/ts.mjs'],
  workerThreads: false,
  concurrency: 1,
  timeout: '6m',
};
