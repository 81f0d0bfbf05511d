/** The gateway's own pages: small, without anything from elsewhere, and never kept. */

export interface Page {
  readonly status: number
  readonly title: string
  readonly text: string
  /** Paragraphs; one that begins with "$ " is a command to type. */
  readonly details?: readonly string[]
  readonly footer?: string
  /** Runs in the page. */
  readonly script?: string
}

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 38rem; margin: 15vh auto 0; padding: 0 1.5rem }
h1 { font-size: 1.4rem; line-height: 1.3; overflow-wrap: anywhere }
p { overflow-wrap: anywhere }
pre { padding: .75rem 1rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .4rem; overflow-x: auto }
footer { margin-top: 2rem; font-size: .8rem; opacity: .6; overflow-wrap: anywhere }`

/** The page as an answer. Everything but `script` may come from anywhere: it is escaped. */
export function page(
  { status, title, text, details = [], footer, script }: Page,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const nonce = crypto.randomUUID()
  const body = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style nonce="${nonce}">${style}
</style>
<h1>${escaped(title)}</h1>
<p id="text">${escaped(text)}</p>
${details.map(paragraph).join("\n")}
${footer === undefined ? "" : `<footer>${escaped(footer)}</footer>`}
${script === undefined ? "" : `<script nonce="${nonce}">${script}</script>`}
</html>
`
  return new Response(body, {
    status,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "content-security-policy": `default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      ...headers,
    },
  })
}

const paragraph = (text: string): string =>
  text.startsWith("$ ") ? `<pre><code>${escaped(text.slice(2))}</code></pre>` : `<p>${escaped(text)}</p>`

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? "")
