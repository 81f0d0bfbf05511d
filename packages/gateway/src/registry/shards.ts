/** Which Registry object holds which name. Names map to fixed buckets and buckets to shards, so that more shards move whole buckets. */
import type { Env } from "../env.ts"
import type { Registry } from "./registry.ts"

const buckets = 256
const shards = 1

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  }
  return value >>> 0
}

/** 0 to shards - 1. */
const shardOf = (name: string): number => (hash(name) % buckets) % shards

const shard = (env: Env, index: number): DurableObjectStub<Registry> => env.REGISTRY.get(env.REGISTRY.idFromName(`shard-${index}`))

export const registryOf = (env: Env, name: string): DurableObjectStub<Registry> => shard(env, shardOf(name))

export const allRegistries = (env: Env): DurableObjectStub<Registry>[] => Array.from({ length: shards }, (_, index) => shard(env, index))
