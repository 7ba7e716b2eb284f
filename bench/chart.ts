// Draws the result table as an SVG: for each workload, how many times as long as copse each program
// takes. It brings its own background for light and dark, so it is readable on any page.

export interface ChartGroup {
  readonly title: string;
  /** The first is the measure of the others. */
  readonly bars: readonly {
    readonly name: string;
    readonly milliseconds: number;
    readonly isOurs: boolean;
  }[];
}

const width = 760;
const nameWidth = 190;
const valueWidth = 80;
const barHeight = 16;
const gap = 5;
const margin = 20;
const titleHeight = 34;
const barWidthMax = width - nameWidth - valueWidth - 2 * margin;

const style = `
    .page { fill: #ffffff; stroke: #d8dee4 }
    .title { fill: #1f2328; font-weight: 600 }
    .name, .value { fill: #424a53 }
    .axis { stroke: #8c959f }
    .ours { fill: #1a7f37 }
    .rival { fill: #8aa1b8 }
    text { font: 12px system-ui, sans-serif }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #30363d }
      .title { fill: #f0f6fc }
      .name, .value { fill: #b1bac4 }
      .axis { stroke: #6e7681 }
      .ours { fill: #3fb950 }
      .rival { fill: #56708c }
    }`;

/** Each group has a scale of its own, from zero: lengths within a group are true to each other. */
export function chart(heading: string, groups: readonly ChartGroup[]): string {
  const parts: string[] = [];
  let y = margin + 16;
  parts.push(text(margin, y, "title", heading));
  for (const group of groups) {
    const { title } = group;
    // What came out as all start-up has no length.
    const bars = group.bars.filter((bar) => bar.milliseconds > 0);
    const measure = bars[0]?.milliseconds;
    if (measure === undefined) continue;
    y += titleHeight;
    parts.push(text(margin, y, "title", title));
    y += gap + 3;
    const top = y;
    const longest = Math.max(...bars.map((bar) => bar.milliseconds));
    for (const bar of bars) {
      // A bar of less than a pixel would look like a missing one.
      const length = Math.max(1, (bar.milliseconds / longest) * barWidthMax);
      const at = margin + nameWidth;
      parts.push(
        text(at - 8, y + 12, "name", bar.name, "end"),
        `<rect class="${bar.isOurs ? "ours" : "rival"}" x="${at}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2"/>`,
        text(
          at + Number(length.toFixed(1)) + 7,
          y + 12,
          "value",
          times(bar.milliseconds / measure),
        ),
      );
      y += barHeight + gap;
    }
    parts.push(
      `<line class="axis" x1="${margin + nameWidth}" y1="${top - 2}" x2="${margin + nameWidth}" y2="${y - gap + 2}"/>`,
    );
    y -= gap;
  }
  const height = y + margin;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(heading)}">
  <style>${style}
  </style>
  <rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>
  ${parts.join("\n  ")}
</svg>
`;
}

function times(ratio: number): string {
  if (ratio >= 100) return `${Math.round(ratio).toLocaleString("en")}×`;
  return `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}×`;
}

function text(x: number, y: number, className: string, words: string, anchor = "start"): string {
  return `<text class="${className}" x="${x}" y="${y}" text-anchor="${anchor}">${escape(words)}</text>`;
}

function escape(words: string): string {
  return words.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
