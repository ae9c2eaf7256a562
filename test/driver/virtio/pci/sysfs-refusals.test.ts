/** Functions that cannot be opened: each refusal is a sentence that says what to do, and leaves nothing open. */
import test, { type ExecutionContext } from 'ava';
import { SystemError, type VirtioPmdError } from '../../../../native/errors.js';
import { openPciFunction } from '../../../../driver/virtio/pci/open.js';
import { systemAt, type PciSystem } from '../../../../driver/virtio/pci/system.js';
import { Vfio } from '../../../../driver/virtio/pci/vfio/group.js';
import { configSpace, pciTree, type FakePci } from './support/pci-tree.js';

const ADDRESS = '0000:00:03.0';

/** Opens it and returns the refusal, with what was logged. */
function refusal(t: ExecutionContext, pci: FakePci, text = ADDRESS, change: Partial<PciSystem> = {}) {
  const root = pciTree(t, [pci]);
  const lines: string[] = [];
  const vfio = new Vfio({ ...systemAt(root), ...change });
  const error = t.throws(() => openPciFunction(text, (level, line) => lines.push(`${level}: ${line}`), vfio), {
    name: 'VirtioPmdError',
  }) as VirtioPmdError;
  return { code: error.code, message: error.message.replaceAll(root, ''), lines };
}

test('text that is no address', (t) => {
  t.is(refusal(t, { address: ADDRESS }, 'eth0').code, 'EDEVARGS');
});

test('an address where nothing is', (t) => {
  const { code, message } = refusal(t, { address: ADDRESS }, '00:04.0');
  t.is(code, 'ECONFIG');
  t.is(message, 'there is no PCI device 0000:00:04.0: devbind --status lists those that are there');
});

test('something else than a virtio network device, even if it is bound to vfio-pci', (t) => {
  const { message } = refusal(t, { address: ADDRESS, vendor: 0x10de, device: 0x1b80, driver: 'vfio-pci', group: '1' });
  t.is(message, `${ADDRESS} is no virtio network device: it is 10de:1b80, 1af4:1000 or 1af4:1041 is expected`);
});

test('still owned by virtio-pci: DPDK’s line, and the command that changes it', (t) => {
  const { code, message, lines } = refusal(t, { address: ADDRESS, driver: 'virtio-pci', group: '7' }, '00:03.0');
  t.is(code, 'ECONFIG');
  t.deepEqual(lines, ['info: skip kernel managed virtio device.']);
  t.is(
    message,
    `${ADDRESS} belongs to the kernel (driver virtio-pci): bind it to vfio-pci (devbind -b vfio-pci ${ADDRESS})`,
  );
});

test('bound to nothing, in a machine without an IOMMU: the sentence has a way that works there', (t) => {
  const { message, lines } = refusal(t, { address: ADDRESS });
  t.deepEqual(lines, []);
  t.regex(
    message,
    /is bound to no driver: bind it to vfio-pci \(devbind -b vfio-pci 0000:00:03\.0\); as it has no IOMMU group/,
  );
  t.regex(message, /or use uio_pci_generic$/);
});

test('vfio-pci without an IOMMU group', (t) => {
  const { code, message } = refusal(t, { address: ADDRESS, driver: 'vfio-pci' });
  t.is(code, 'ECONFIG');
  t.is(
    message,
    `${ADDRESS} has no IOMMU group: enable the IOMMU (intel_iommu=on), or vfio's no-IOMMU mode, or use uio_pci_generic`,
  );
});

test('vfio-pci without /dev/vfio', (t) => {
  const { message } = refusal(t, { address: ADDRESS, driver: 'vfio-pci', group: '7' });
  t.is(
    message,
    `there is no /dev/vfio/7 for ${ADDRESS}: load the module (modprobe vfio-pci), or give this container /dev/vfio`,
  );
});

test('the no-IOMMU mode: its device node missing, the right to open it missing', (t) => {
  const pci = { address: ADDRESS, driver: 'vfio-pci', group: '7', groupName: 'vfio-noiommu' };
  t.regex(refusal(t, pci).message, /^there is no \/dev\/vfio\/noiommu-7 for 0000:00:03\.0: load the module/);
  const open = (path: string): number => {
    throw new SystemError('open', path.includes('noiommu') ? 'EPERM' : 'ENOENT', path);
  };
  t.regex(
    refusal(t, pci, ADDRESS, { open }).message,
    /\[EPERM\] \(\/dev\/vfio\/noiommu-7\): the no-IOMMU mode needs CAP_SYS_RAWIO: run as root with it/,
  );
});

test('a group that another process has, and one that this user may not open', (t) => {
  const pci = { address: ADDRESS, driver: 'vfio-pci', group: '7' };
  const opening = (errno: string) => ({
    open: (path: string): number => {
      throw new SystemError('open', errno, path);
    },
  });
  t.regex(refusal(t, pci, ADDRESS, opening('EBUSY')).message, /\[EBUSY\] \(\/dev\/vfio\/7\): another process has it/);
  t.regex(refusal(t, pci, ADDRESS, opening('EACCES')).message, /run as root, or give this user \/dev\/vfio\/7$/);
});

test('uio without a uio device', (t) => {
  const { message } = refusal(t, { address: ADDRESS, driver: 'uio_pci_generic' });
  t.is(
    message,
    `${ADDRESS} is bound to uio_pci_generic, which has made no uio device of it: bind it anew (devbind -b uio_pci_generic ${ADDRESS})`,
  );
});

test('uio whose device node is missing, or whose files may not be opened', (t) => {
  const pci = { address: ADDRESS, driver: 'igb_uio', uio: 'uio0', files: { config: configSpace() } };
  t.regex(refusal(t, pci).message, /^open: no such file or directory \[ENOENT\] \(\/dev\/uio0\): is this a container/);
  const open = (path: string): number => {
    throw new SystemError('open', 'EPERM', path);
  };
  t.regex(
    refusal(t, pci, ADDRESS, { open }).message,
    /Secure Boot \(kernel lockdown\) forbids it even then: use vfio-pci$/,
  );
});
