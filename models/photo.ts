/** Makes the sample product photo: a glazed ceramic mug in a plain light studio, drawn rather than bundled. */
import sharp from 'sharp'

const side = 1200

const studio = `
  <linearGradient id="wall" x1="0" y1="0" x2="0" y2="1">
    <stop offset="0" stop-color="#e9e8e5"/><stop offset=".62" stop-color="#f4f3f1"/>
    <stop offset="1" stop-color="#eeedea"/>
  </linearGradient>`

const glaze = `
  <linearGradient id="body" x1="0" x2="1" y1="0" y2="0">
    <stop offset="0" stop-color="#1d5f63"/><stop offset=".07" stop-color="#2b7f82"/>
    <stop offset=".24" stop-color="#5fb3b0"/><stop offset=".36" stop-color="#4ba3a2"/>
    <stop offset=".6" stop-color="#2c8285"/><stop offset=".84" stop-color="#175559"/>
    <stop offset=".95" stop-color="#0f4246"/><stop offset="1" stop-color="#1a5a5e"/>
  </linearGradient>
  <linearGradient id="fall" x1="0" x2="0" y1="0" y2="1">
    <stop offset="0" stop-color="#fff" stop-opacity=".12"/><stop offset=".4" stop-color="#fff" stop-opacity="0"/>
    <stop offset="1" stop-color="#04282b" stop-opacity=".34"/>
  </linearGradient>
  <linearGradient id="inside" x1="0" x2="1" y1="0" y2="0">
    <stop offset="0" stop-color="#a98f6d"/><stop offset=".3" stop-color="#d9c4a3"/>
    <stop offset=".75" stop-color="#f6ead4"/><stop offset="1" stop-color="#e7d5b6"/>
  </linearGradient>
  <linearGradient id="depth" x1="0" x2="0" y1="0" y2="1">
    <stop offset="0" stop-color="#6b5234" stop-opacity=".75"/><stop offset=".8" stop-color="#6b5234" stop-opacity="0"/>
  </linearGradient>
  <linearGradient id="rim" x1="0" x2="1" y1="0" y2="0">
    <stop offset="0" stop-color="#8f7350"/><stop offset=".3" stop-color="#eed9b2"/>
    <stop offset=".6" stop-color="#d2b88e"/><stop offset="1" stop-color="#8d7250"/>
  </linearGradient>
  <linearGradient id="clay" x1="0" x2="1" y1="0" y2="0">
    <stop offset="0" stop-color="#94704c"/><stop offset=".28" stop-color="#e2c298"/>
    <stop offset=".65" stop-color="#bb9468"/><stop offset="1" stop-color="#6f5235"/>
  </linearGradient>
  <linearGradient id="arm" x1="0" x2="0" y1="0" y2="1">
    <stop offset="0" stop-color="#4a9f9f"/><stop offset=".4" stop-color="#257377"/>
    <stop offset="1" stop-color="#0e3f43"/>
  </linearGradient>`

const soft = [8, 16, 34]
  .map(
    (sigma) => `<filter id="soft${sigma}" x="-50%" y="-150%" width="200%" height="400%">
      <feGaussianBlur stdDeviation="${sigma}"/></filter>`,
  )
  .join('')

const bodyPath = 'M306 356L330 862Q332 892 350 902C440 938 630 938 720 902Q738 892 740 862L764 356Z'
const handlePath = 'M752 462C905 424 968 528 934 640C908 728 832 780 742 786'

/** Lehmer's generator: scattered numbers from 0 to 1, yet the same each time. */
function scatter(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
}

/** Fine dark specks in the glaze. */
function specks(): string {
  const random = scatter(20260)
  return Array.from({ length: 150 }, () => {
    const x = 312 + random() * 446
    const y = 400 + random() * 480
    const r = 0.9 + random() ** 3 * 2.6
    return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r.toFixed(2)}"/>`
  }).join('')
}

function mug(): string {
  return `
  <g filter="url(#soft34)"><ellipse cx="660" cy="898" rx="330" ry="44" fill="#4a453f" opacity=".42"/></g>
  <g filter="url(#soft16)"><ellipse cx="570" cy="900" rx="228" ry="34" fill="#332f2a" opacity=".5"/></g>
  <g filter="url(#soft8)"><path d="M336 884C440 948 630 948 734 884Z" fill="#1f1c19" opacity=".75"/></g>
  <g fill="none" stroke-linecap="round">
    <path d="${handlePath}" stroke="#0d3d41" stroke-width="66"/>
    <path d="${handlePath}" stroke="url(#arm)" stroke-width="58"/>
    <g filter="url(#soft8)">
      <path d="M772 448C892 424 938 512 914 604" stroke="#a9e0da" stroke-width="13" opacity=".75"/>
      <path d="M926 662C896 742 832 788 752 800" stroke="#04282b" stroke-width="16" opacity=".55"/>
    </g>
    <path d="M790 446C868 434 908 482 912 540" stroke="#eafffb" stroke-width="5" opacity=".75"/>
  </g>
  <clipPath id="cut"><path d="${bodyPath}"/></clipPath>
  <path d="${bodyPath}" fill="url(#body)"/>
  <g clip-path="url(#cut)">
    <rect x="300" y="340" width="480" height="620" fill="url(#fall)"/>
    <path d="M300 838Q535 926 780 838V960H300Z" fill="url(#clay)"/>
    <path d="M300 836Q535 924 780 836" fill="none" stroke="#0f4246" stroke-width="5" opacity=".5"/>
    <path d="M300 842Q535 930 780 842" fill="none" stroke="#fff" stroke-width="2" opacity=".4"/>
    <g fill="#0a3538" opacity=".55">${specks()}</g>
    <g filter="url(#soft16)">
      <path d="M392 420L408 840L446 848L440 420Z" fill="#fff" opacity=".5"/>
      <path d="M738 430L722 830L738 838L752 430Z" fill="#bdeae6" opacity=".35"/>
      <ellipse cx="770" cy="640" rx="26" ry="170" fill="#04282b" opacity=".4"/>
    </g>
    <g filter="url(#soft8)"><path d="M398 440L410 720L422 722L418 440Z" fill="#fff" opacity=".75"/></g>
    <ellipse cx="535" cy="372" rx="228" ry="66" fill="#04282b" opacity=".22" filter="url(#soft8)"/>
  </g>
  <ellipse cx="535" cy="356" rx="229" ry="62" fill="url(#rim)"/>
  <ellipse cx="535" cy="358" rx="215" ry="53" fill="url(#inside)"/>
  <clipPath id="mouth"><ellipse cx="535" cy="358" rx="215" ry="53"/></clipPath>
  <g clip-path="url(#mouth)">
    <rect x="300" y="300" width="470" height="112" fill="url(#depth)"/>
    <ellipse cx="545" cy="420" rx="190" ry="52" fill="#3a2213"/>
    <ellipse cx="500" cy="416" rx="120" ry="34" fill="#6d4426" opacity=".5" filter="url(#soft16)"/>
  </g>
  <path d="M318 368A229 62 0 0 0 752 368" fill="none" stroke="#fffaf0" stroke-width="3" opacity=".6"/>`
}

/** A square JPEG of 1200 pixels, about 150 kB, the same bytes each time on the same sharp. */
export async function makeSamplePhoto(): Promise<Buffer> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}" viewBox="0 0 ${side} ${side}">
    <defs>${studio}${glaze}${soft}</defs>
    <rect width="${side}" height="${side}" fill="url(#wall)"/>
    ${mug()}
  </svg>`
  const { data, info } = await sharp(Buffer.from(svg))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  const random = scatter(7)
  // Grain hides the banding of slow gradients and looks like a camera.
  for (let at = 0; at + 2 < data.length; at += 3) {
    const noise = (random() + random() - 1) * 4
    for (let channel = at; channel < at + 3; channel++) {
      data[channel] = Math.max(0, Math.min(255, Math.round((data[channel] ?? 0) + noise)))
    }
  }
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } })
    .jpeg({ quality: 90, chromaSubsampling: '4:4:4' })
    .toBuffer()
}
