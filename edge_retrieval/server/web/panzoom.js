// Moves and scales a layer inside its stage: wheel, drag, pinch and keys.

const LEAST = 0.2;
const MOST = 12;

/** Let `stage` move `layer`; return what buttons and keys can do. `changed(scale)` is told. */
export function panzoom(stage, layer, changed = () => {}) {
  const at = { x: 0, y: 0, scale: 1 };
  const fingers = new Map();

  const show = () => {
    layer.style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
    changed(at.scale);
  };
  const scaleBy = (factor, point = middle(stage)) => {
    const scale = Math.min(MOST, Math.max(LEAST, at.scale * factor));
    const grown = scale / at.scale;
    at.x = point.x - (point.x - at.x) * grown; // what is under the pointer stays there
    at.y = point.y - (point.y - at.y) * grown;
    at.scale = scale;
    show();
  };
  const move = (x, y) => {
    at.x += x;
    at.y += y;
    show();
  };
  const fit = () => {
    Object.assign(at, { x: 0, y: 0, scale: 1 });
    show();
  };

  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      scaleBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), inside(stage, event));
    },
    { passive: false },
  );
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, inside(stage, event));
  });
  stage.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const now = inside(stage, event);
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) scaleBy(distance(now, other) / Math.max(1, distance(last, other)), other);
    else move(now.x - last.x, now.y - last.y);
    fingers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  stage.addEventListener("dblclick", () => (at.scale === 1 ? scaleBy(2.5) : fit()));

  /** Return whether the key was one of its own. */
  const key = (name) => {
    const step = 24;
    const actions = {
      "+": () => scaleBy(1.25),
      "=": () => scaleBy(1.25),
      "-": () => scaleBy(0.8),
      0: fit,
      ArrowLeft: () => move(-step, 0),
      ArrowRight: () => move(step, 0),
      ArrowUp: () => move(0, -step),
      ArrowDown: () => move(0, step),
    };
    actions[name]?.();
    return name in actions;
  };
  return { scaleBy, fit, key };
}

// The layer's own origin is its middle, so points are counted from there.
function inside(stage, event) {
  const box = stage.getBoundingClientRect();
  return {
    x: event.clientX - box.left - box.width / 2,
    y: event.clientY - box.top - box.height / 2,
  };
}

const middle = () => ({ x: 0, y: 0 });
const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);
