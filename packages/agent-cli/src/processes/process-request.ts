/** What a client asks to be run, checked. */
import type { ExecOpen, PtyOpen } from "@trunkline/protocol"

export type ProcessRequest = { readonly kind: "exec"; readonly open: ExecOpen } | { readonly kind: "pty"; readonly open: PtyOpen }
