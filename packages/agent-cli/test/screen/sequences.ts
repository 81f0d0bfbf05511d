/**
 * Arbitrary output for property tests: text and valid escape sequences in any order. Left out are combinations in which
 * xterm.js does what no terminal does, and which a repaint cannot bring about.
 */
import fc from "fast-check"

const esc = "\u001b"
const count = fc.integer({ min: 0, max: 12 })
const anyCount = fc.oneof({ weight: 8, arbitrary: count }, { weight: 1, arbitrary: fc.constantFrom(24, 80) })

const text = fc.oneof(
  fc.string({ maxLength: 10, unit: "grapheme-ascii" }),
  fc.constantFrom(
    "\u6f22\u5b57",
    "\u00e9",
    "e\u0301",
    "\u{1f600}",
    "x".repeat(11),
    "\u754c".repeat(6),
    "\u{1f468}\u200d\u{1f467}",
    "a",
    "\uff8a",
  ),
)

const looks = "0 1 2 3 5 7 8 9 22 27 39 49 53 55 38;5;200 38;2;1;2;3 48;5;17 48;2;9;8;7 41 44 31 92 103".split(" ")
const look = fc.array(fc.constantFrom(...looks), { maxLength: 4 }).map((codes) => `${esc}[${codes.join(";")}m`)

const controls = fc.constantFrom("\r", "\n", "\r\n", "\b", "\t", "\v")

const movesAndEdits = fc.tuple(fc.constantFrom(..."@ABCDEFGILMPXZ`abde"), anyCount).map(([final, n]) => `${esc}[${n}${final}`)
const positions = fc.tuple(fc.constantFrom("H", "f", "r"), count, count).map(([final, y, x]) => `${esc}[${y};${x}${final}`)
const erasures = fc.constantFrom("J", "2J", "K", "1K", "2K", "g", "3g").map((end) => `${esc}[${end}`)
/** The cursor leaves the right edge first: they would put another cell under a wrap that is pending. */
const scrolls = fc.tuple(fc.constantFrom("S", "T", " @", " A", "'}", "'~"), count).map(([end, n]) => `\r${esc}[${n}${end}`)

const privateModes = [1, 6, 9, 25, 45, 47, 66, 1000, 1002, 1003, 1004, 1006, 1016, 1047, 1048, 1049, 2004, 5, 12, 1005, 1007, 1015, 2026]
const modes = fc
  .tuple(fc.constantFrom(...privateModes.map((mode) => `?${mode}`), "4", "20"), fc.constantFrom("h", "l"))
  .map(([mode, end]) => `\r${esc}[${mode}${end}`)

const escapes = fc.constantFrom(..."7 8 D E M H = > c [s [u [!p #8 %G".split(" ")).map((end) => esc + end)

const titles = ["0;title", "2;\u00e9\u6f22", "1;icon"]
const colors = ["4;1;red", "4;300;red", "104", "104;1", "10;#fff;#000", "11;?", "112"]
const commands = fc
  .tuple(fc.constantFrom(...titles, ...colors, "52;c;aGk="), fc.constantFrom("\u0007", `${esc}\\`))
  .map(([command, end]) => `${esc}]${command}${end}`)

const keyboards = fc
  .constantFrom(...'[>1u [<u [<3u [=5;1u [=2;2u [=4;3u [>4;2m [>4m [>4n [22;0t [23;0t [22;2t [5\u0020q [0\u0020q [1"q [0"q'.split(" "))
  .map((end) => esc + end)

const others = fc.constantFrom(
  `${esc}[4mone${esc}[21mtwo${esc}[24m`,
  `${esc}[4:3;58:5:3mcurly ${esc}[58:2::1:2:3mred${esc}[59;4:5mdashed${esc}[31;24m`,
  `${esc}]8;;https://a.example/1${esc}\\link${esc}]8;;${esc}\\`,
  `${esc}]8;id=1;https://b.example\u0007${esc}[31mred ${esc}[4mlink\r\nbelow${esc}[m${esc}]8;;\u0007`,
  `${esc}(0lqqk\r\nx  x${esc}(B`,
  `${esc})0${esc}*A\u000eaqb\u000f#${esc}n#q\u000f${esc})B${esc}*B`,
  `\r\n${esc}[2K${esc}[?7lno wrap over the edge${esc}[m!${esc}[?7h`,
  `${esc}[3J${esc}7`,
  `${esc}P$qm${esc}\\`,
  `${esc}P1;2|some text${esc}\\`,
  `${esc}_for nobody${esc}\\`,
  `${esc}^for nobody${esc}\\`,
  `${esc}Xfor nobody${esc}\\`,
  "\u009b3C",
  "\u0090q\u009c",
  `${esc}[3\u0018`,
  `${esc}[5;\n2H`,
  `${esc}[0<5H`,
  `${esc}[6n`,
  `${esc}[c`,
)

const piece = fc.oneof(
  { weight: 10, arbitrary: text },
  { weight: 6, arbitrary: look },
  { weight: 4, arbitrary: controls },
  { weight: 5, arbitrary: movesAndEdits },
  { weight: 4, arbitrary: positions },
  { weight: 3, arbitrary: erasures },
  { weight: 1, arbitrary: scrolls },
  { weight: 4, arbitrary: modes },
  { weight: 3, arbitrary: escapes },
  { weight: 2, arbitrary: commands },
  { weight: 1, arbitrary: keyboards },
  { weight: 1, arbitrary: others },
)

/** Bytes of up to `pieceMax` pieces. */
export const output = (pieceMax: number): fc.Arbitrary<Buffer> =>
  fc.array(piece, { minLength: 1, maxLength: pieceMax, size: "max" }).map((pieces) => Buffer.from(pieces.join("")))

/** Characters from which mostly no valid sequence comes about. */
const fragments = [
  ..."\u001b\u001b\u001b[[]P_^X\\?>01;: $mqA\n\u007f\u0018\u0007\u009b\u009d\u0090\u009c\u0098\u0085\u00e9",
  "\u6f22",
  "\u{1f600}",
  "\u3000",
  "plain",
]
export const garbage: fc.Arbitrary<Buffer> = fc
  .array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 60, size: "max" })
  .map((parts) => Buffer.from(parts.join("")))
