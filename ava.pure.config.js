/**
 * The tests of `npm test` that look at nothing outside of their own process: no peers, no other processes and threads, no clocks,
 * nothing that only root may change, no hugepages, no environment. Two files at a time; project/pure.test.ts looks at what they use.
 */
export default {
  files: [
    'test/driver/devargs/*.test.ts',
    'test/driver/vdevs/{devargs,reader}.test.ts',
    'test/driver/vdevs/af-packet-*.test.ts',
    'test/driver/virtio/!(fallback).test.ts',
    'test/driver/virtio/control/{commands,emulator,filters}.test.ts',
    'test/driver/virtio/pci/!(uio|uio-files).test.ts',
    'test/native/{libc,log-limit}.test.ts',
    'test/paths/!(debug-mode|layout).test.ts',
    'test/paths/device/!(hostile|position).test.ts',
    'test/paths/guest/!(concurrent|publish|weak-order).test.ts',
    'test/paths/guest/offload/!(concurrent).test.ts',
    'test/paths/guest/{rx,tx}/*.test.ts',
    'test/paths/simd/!(emulated).test.ts',
    'test/project/{architecture,flaky,imports}.test.ts',
    'test/tools/devbind/{bind,refuse}.test.ts',
    'test/tools/l3fwd-power/!(other-ports|program).test.ts',
    'test/tools/testpmd/{csum,engines,filters,formats,grammar,offloads,topology}.test.ts',
    'test/tools/vfio-bindings-generator/fields.test.ts',
  ],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=./tools/ts.mjs'],
  workerThreads: false,
  concurrency: 2,
  timeout: '4m',
};
