/* Line drawings of devices, 24 by 24. */

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  id_card_reader: "M3 5h18v14H3z M6.5 15.5c.4-1.8 4.6-1.8 5 0 M9 9a1.7 1.7 0 1 1 0 3.4A1.7 1.7 0 0 1 9 9z M14 9h4 M14 12h4 M14 15h3",
  card_reader: "M3 6h18v12H3z M3 10h18 M6 14.5h5",
  qr_scanner: "M4 8V4h4 M16 4h4v4 M20 16v4h-4 M8 20H4v-4 M8 8h3v3H8z M13 8h3v3h-3z M8 13h3v3H8z M13.5 13.5h2.5 M16 16h-2.5",
  receipt_printer: "M4 9h16v7h-3 M7 16H4V9 M7 13h10v8l-2-1.4-1.6 1.4-1.7-1.4-1.6 1.4L9 19.600 7 21z M7 9V4h10v5",
  report_printer: "M7 8V3h10v5 M4 8h16v8h-3 M7 16H4V8 M7 13h10v8H7z M9.500 16h5 M9.500 18.500h5",
  pin_pad: "M5 3h14v18H5z M8 6h8v3H8z M8.500 12.500h.01 M12 12.500h.01 M15.500 12.500h.01 M8.500 15.500h.01 M12 15.500h.01 M15.500 15.500h.01 M8.500 18.500h.01 M12 18.500h.01 M15.500 18.500h.01",
  io_board: "M6 3h9v18H6z M15 5l4 1.500v11L15 19 M12.500 12h.01 M3 21h18",
  ups: "M4 8h14v9H4z M18 11h2.500v3H18 M11.500 9.500 9 12.800h3.500L10 16",
  face_camera: "M3 8h4l1.500-2.500h7L17 8h4v11H3z M12 10a3.200 3.200 0 1 1 0 6.400A3.200 3.200 0 0 1 12 10z",
};

/* The drawing of a kind of device; it says nothing to screen readers. */
export function iconOf(kind) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[kind] ?? "M5 5h14v14H5z");
  svg.append(path);
  return svg;
}
