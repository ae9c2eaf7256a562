export * from '../../native/nearest.js';
