/**
 * Gives the memory of a chunk that was read, and that nobody looks at any more, back at once; a chunk that shares its memory with others keeps
 * it. Left to the collector, the 64 KiB of each read have it run for as long as the reading takes.
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
