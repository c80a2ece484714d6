// A plot of one figure over the last minutes, as SVG. What it shows is said in words as well; with the pointer, or the arrow keys, it tells its
// values one by one.

import { html, useSignal } from '../lib/ui.js';
import { moment, t } from './i18n.js';

const width = 300;
const height = 96;

/** The next number of 1, 2, 5, 10, 20, … units that is not less: where the axis ends. Units of bytes are powers of 1024. */
function ceiling(max, binary) {
  const unit = binary ? 1024 ** Math.floor(Math.log(max) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(max / unit)) * unit;
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= max * 0.999) ?? 10 * power;
}

/** A path through the points; where a few seconds are missing, so is the line. */
function pathOf(points, x, y, gap) {
  let path = '';
  let last = null;
  for (const p of points) {
    if (p.v === null) last = null;
    else {
      if (last === null) path += `M${x(p.t).toFixed(1)} ${y(p.v).toFixed(1)}h0`; // one alone is a dot
      else path += `${p.t - last < gap ? 'L' : 'M'}${x(p.t).toFixed(1)} ${y(p.v).toFixed(1)}`;
      last = p.t;
    }
  }
  return path;
}

/** Of many samples, the largest of each pixel. */
function thin(points, from, span) {
  const bins = new Map();
  for (const p of points) {
    const bin = Math.floor(((p.t - from) / span) * width);
    const there = bins.get(bin);
    if (there === undefined || (p.v ?? -1) > (there.v ?? -1)) bins.set(bin, p);
  }
  return [...bins.values()];
}

/** `of` takes the figure from a sample, null where it is not known; `format` writes it; `least` is where the axis ends at least. */
export function Chart({ title, help, samples, of, format, minutes: longest, least, binary = false }) {
  const at = useSignal(null); // the sample that is pointed at, by its time
  const end = samples.length > 0 ? samples[samples.length - 1].t : Date.now();
  // As long as not so much is known, it is as wide as what is.
  const minutes = Math.min(longest, Math.max(1, Math.ceil((end - (samples[0]?.t ?? end)) / 60_000)));
  const span = minutes * 60_000;
  const from = end - span;
  const points = thin(samples.filter((s) => s.t >= from).map((s) => ({ t: s.t, v: of(s) })), from, span);
  const values = points.map((p) => p.v).filter((v) => v !== null);
  const max = values.length > 0 ? Math.max(...values) : 0;
  const top = ceiling(Math.max(max, least), binary);
  const x = (time) => ((time - from) / span) * width;
  const y = (v) => height - (v / top) * (height - 4) - 1;
  const current = values.length > 0 ? points[points.length - 1].v : null;
  const path = pathOf(points, x, y, Math.max(5000, (3 * span) / width));
  const shown = at.value === null ? null : points.reduce((best, p) => (best === null || Math.abs(p.t - at.value) < Math.abs(best.t - at.value) ? p : best), null);

  const point = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    at.value = from + ((event.clientX - box.left) / box.width) * span;
  };
  const step = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined || points.length === 0) return;
    event.preventDefault();
    const i = shown === null ? points.length - 1 : points.indexOf(shown) + by;
    at.value = points[Math.min(Math.max(i, 0), points.length - 1)].t;
  };
  const words = values.length === 0 ? t('chart.none', { title })
    : t('chart.words', { title, now: format(current), max: format(max), min: format(Math.min(...values)), minutes });

  return html`<figure class="chart">
    <figcaption><span title=${help}>${title}</span> <strong>${format(shown === null ? current : shown.v)}</strong>
      <span class="when">${shown === null ? '' : moment(shown.t)}</span></figcaption>
    <div class="plot" tabindex="0" role="img" aria-label=${words} onPointerMove=${point} onPointerLeave=${() => { at.value = null; }}
      onKeyDown=${step} onBlur=${() => { at.value = null; }}>
      <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">
        <line class="grid" x1="0" x2=${width} y1=${y(top)} y2=${y(top)} /><line class="grid" x1="0" x2=${width} y1=${y(top / 2)} y2=${y(top / 2)} />
        <line class="axis" x1="0" x2=${width} y1=${y(0)} y2=${y(0)} />
        ${path && html`<path class="line" d=${path} />`}
        ${shown !== null && html`<line class="cursor" x1=${x(shown.t)} x2=${x(shown.t)} y1="0" y2=${height} />`}
      </svg>
      <span class="top" aria-hidden="true">${format(top)}</span><span class="middle" aria-hidden="true">${format(top / 2)}</span>
    </div>
    <div class="times" aria-hidden="true"><span>${t('chart.ago', { n: minutes })}</span><span>${t('chart.now')}</span></div>
    <span class="spoken" role="status">${shown === null ? '' : `${moment(shown.t)}: ${format(shown.v)}`}</span>
  </figure>`;
}
