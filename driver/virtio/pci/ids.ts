/** Which PCI functions are virtio-net devices (virtio 1.2 section 4.1.2). */
import { VIRTIO_ID_NET } from '../../wire/linux/virtio-ids.js';

/** PCI vendor ID of all virtio devices. */
export const VIRTIO_VENDOR = 0x1af4;
/** A transitional or legacy device. */
export const TRANSITIONAL_NET = 0x1000;
/** A modern device: 0x1040 plus the device ID of virtio 1.2 section 5. */
export const MODERN_NET = 0x1040 + VIRTIO_ID_NET;

interface Ids {
  readonly vendor: number;
  readonly device: number;
}

/** Whether these are the IDs of a virtio-net device. */
export function isVirtioNet({ vendor, device }: Ids): boolean {
  return vendor === VIRTIO_VENDOR && (device === TRANSITIONAL_NET || device === MODERN_NET);
}

/** Vendor and device ID in hexadecimal, as 1af4:1041. */
export function formatIds({ vendor, device }: Ids): string {
  return [vendor, device].map((id) => id.toString(16).padStart(4, '0')).join(':');
}

/** The IDs of supported devices, for error messages. */
export const EXPECTED_IDS = [TRANSITIONAL_NET, MODERN_NET]
  .map((device) => formatIds({ vendor: VIRTIO_VENDOR, device }))
  .join(' or ');
