/** Which PCI functions are virtio-net devices (virtio 1.2 section 4.1.2). */
import { VIRTIO_ID_NET } from '../../wire/linux/virtio-ids.js';

export const VIRTIO_VENDOR = 0x1af4;
/** A transitional or legacy device. */
export const TRANSITIONAL_NET = 0x1000;
/** A modern one: 0x1040 and the device type. */
export const MODERN_NET = 0x1040 + VIRTIO_ID_NET;

export function isVirtioNet({ vendor, device }: { readonly vendor: number; readonly device: number }): boolean {
  return vendor === VIRTIO_VENDOR && (device === TRANSITIONAL_NET || device === MODERN_NET);
}
