#version 330 core
// What spots of a picture see, from the exact geometry, and the light that comes from there.
// Spots are counted at twice the picture's resolution: odd ones are pixels' centres, even ones their corners.
uniform isamplerBuffer spots;  // column and, from bit 16 on, row
uniform int width;             // spots in a row of what is drawn
uniform int first, last;       // of the spots to draw
uniform isampler2D numbers;    // triangle that each spot sees, 0 for none
uniform isamplerBuffer triangles;
uniform isamplerBuffer material_of;
uniform samplerBuffer posed;      // of each vertex: place in the world, normal
uniform samplerBuffer covering;   // of each vertex: place in the material, tint
uniform samplerBuffer pictured;   // of each triangle's corners: coordinates in the texture and in the painting
uniform samplerBuffer materials;  // of each: see patterns.py
uniform int has_texture, has_painting;
uniform sampler2D texture_picture, painting;
uniform vec3 eye;
uniform mat3 world_from_pixel;  // of a pixel's (x, y, 1): the direction of planar depth 1
uniform float focal_px;

uniform sampler2D sky;  // equirectangular, zenith in the first row
uniform mat3 sky_from_world;
uniform float sky_strength;
uniform vec3 harmonics[9];  // of the irradiance of all of the sky but its key light
uniform int num_lamps;
uniform vec4 lamp_place[LAMPS];       // w is 0 for a direction
uniform vec4 lamp_irradiance[LAMPS];  // at the distance w, which is 0 for a lamp that is infinitely far
uniform sampler2DArrayShadow maps;
uniform mat4 map_from_world[LAMPS];
uniform float texel_m[LAMPS];  // how wide a map's texel is, at distance 1 of a lamp that is not infinitely far
uniform int num_large;
uniform vec3 large[3 * LARGE];  // corners of triangles that reach out of the maps

layout(location = 0) out vec4 seen;    // linear radiance, planar depth
layout(location = 1) out vec4 normal;  // towards the eye

const float PI = 3.14159265358979;
const float MATT = 0.7;       // roughness from which on there are no highlights
const float GLANCING = 0.04;  // share of light that a non-metal mirrors when seen straight on

ivec3 corners_of(int triangle)
{
    int at = 3 * triangle;
    return ivec3(texelFetch(triangles, at).x, texelFetch(triangles, at + 1).x, texelFetch(triangles, at + 2).x);
}

// The first or second vector of a triangle's corners, within the triangle.
vec3 within(samplerBuffer values, int which, ivec3 corner, vec3 weight)
{
    ivec3 at = 2 * corner + which;
    return mat3(texelFetch(values, at.x).xyz, texelFetch(values, at.y).xyz, texelFetch(values, at.z).xyz) * weight;
}

vec3 sky_radiance(vec3 direction)
{
    vec3 towards = sky_from_world * direction;
    // the seam lies at -x, as Blender's equirectangular maps have it
    vec2 at = vec2(0.5 - atan(towards.y, towards.x) / (2.0 * PI), atan(length(towards.xy), towards.z) / PI);
    return textureLod(sky, at, 0.0).rgb * sky_strength;
}

// Irradiance on a surface (Ramamoorthi and Hanrahan, 2001).
vec3 sky_irradiance(vec3 outwards)
{
    vec3 n = sky_from_world * outwards;
    vec3 sum = 0.282095 * harmonics[0] + 0.488603 * (n.y * harmonics[1] + n.z * harmonics[2] + n.x * harmonics[3]);
    sum += 1.092548 * (n.x * n.y * harmonics[4] + n.y * n.z * harmonics[5] + n.x * n.z * harmonics[7]);
    sum += 0.315392 * (3.0 * n.z * n.z - 1.0) * harmonics[6] + 0.546274 * (n.x * n.x - n.y * n.y) * harmonics[8];
    return max(sum, 0.0) * sky_strength;
}

// Whether a large triangle lies between a place and a lamp in the direction `towards`, which ends there if it is near.
bool blocks(int number, vec3 start, vec3 towards, bool is_near)
{
    vec3 a = large[3 * number], ab = large[3 * number + 1] - a, ac = large[3 * number + 2] - a;
    vec3 from = start - a, across = cross(ab, ac);
    float along = -dot(across, towards);
    if (abs(along) < 1e-12)
        return false;
    float far = dot(from, across) / along;
    vec2 weight = vec2(dot(cross(ac, from), towards), dot(cross(from, ab), towards)) / along;
    return far > 0.0 && !(is_near && far > 1.0) && weight.x >= 0.0 && weight.y >= 0.0 && weight.x + weight.y <= 1.0;
}

// How much of a lamp's light arrives at a place of a surface whose face has the normal `across`.
float reached(int lamp, vec3 place, float depth_m, vec3 across)
{
    vec3 towards = lamp_place[lamp].xyz - lamp_place[lamp].w * place;
    if (dot(across, towards) <= 0.0)
        return 0.0;
    float wide_m = texel_m[lamp] * (lamp_place[lamp].w > 0.0 ? length(towards) : 1.0);
    // off the surface, by more where a texel of the map covers more
    vec3 start = place + across * (0.002 + 0.001 * depth_m + 1.5 * wide_m);
    for (int index = 0; index < num_large; index++)
        if (blocks(index, start, towards, lamp_place[lamp].w > 0.0))
            return 0.0;
    vec4 there = map_from_world[lamp] * vec4(start, 1.0);
    vec3 at = there.xyz / there.w;
    if (there.w <= 0.0 || any(lessThan(at.xy, vec2(0.0))) || any(greaterThan(at.xy, vec2(1.0))))
        return 1.0;
    return texture(maps, vec4(at.xy, lamp, clamp(at.z, 0.0, 1.0)));
}

// A value 0..1 for each whole place; the hash of synthgen/noise.py.
float lattice(ivec3 cell, uint seed)
{
    uvec3 axes = uvec3(cell) * uvec3(0x8DA6B343u, 0xD8163841u, 0xCB1AB31Fu);
    uint h = axes.x ^ axes.y ^ axes.z ^ (seed * 0x9E3779B1u);
    h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
    h = (h ^ (h >> 12)) * 0x297A2D39u;
    h ^= h >> 15;
    return float(h >> 8) * exp2(-24.0);
}

float smooth_noise(vec3 place)
{
    vec3 cell = floor(place), high = place - cell;
    high = high * high * (3.0 - 2.0 * high);
    float total = 0.0;
    for (int corner = 0; corner < 8; corner++)
    {
        ivec3 aside = ivec3(corner, corner >> 1, corner >> 2) & 1;
        vec3 share = mix(1.0 - high, high, vec3(aside));
        total += share.x * share.y * share.z * lattice(ivec3(cell) + aside, 0u);
    }
    return total;
}

float ramp(float value, float low, float high)
{
    return clamp((value - low) / (high - low), 0.0, 1.0);
}

// Blender's wave texture: sine bands.
float wave(float along, float scale)
{
    return 0.5 + 0.5 * sin(along * scale * 20.0 - PI / 2.0);
}

// Distance to the nearest of the seeds, one near the middle of each cell.
float nearest_seed(vec3 place)
{
    ivec3 near = ivec3(floor(place - 0.5));
    float best = 4.0;
    for (int corner = 0; corner < 8; corner++)
    {
        ivec3 cell = near + (ivec3(corner, corner >> 1, corner >> 2) & 1);
        vec3 jitter = vec3(lattice(cell, 1u), lattice(cell, 2u), lattice(cell, 3u)) - 0.5;
        vec3 away = place - vec3(cell) - 0.5 - 0.6 * jitter;
        best = min(best, dot(away, away));
    }
    return sqrt(best);
}

// Linear colour of a pattern at a place in its own space; `detail` is how the pattern's kind is meant, see patterns.py.
vec3 pattern_colour(int kind, vec4 detail, vec3 place, float fade, vec3 colour, vec3 second_colour)
{
    float share = 0.0;
    bool is_mortar = false;
    if (kind == PLAIN)
        return colour;
    if (kind == CHECKER)
        share = float(int(dot(floor(place + 1e-6), vec3(1.0))) & 1);
    if (kind == NOISE)
    {
        vec3 stretched = place * vec3(1.0, 1.0, detail.z);
        float value = (smooth_noise(stretched) + 0.5 * smooth_noise(2.0 * stretched + 17.3)) / 1.5;
        share = ramp(value, detail.x, detail.y);
        share = detail.w > 0.0 ? roundEven(detail.w * share) / detail.w : share;
    }
    if (kind == CELLS)
        share = ramp(nearest_seed(place), detail.x, detail.y);
    if (kind == DOTS)
        share = 1.0 - ramp(length(fract(place.xy) - 0.5), detail.x, detail.y);
    if (kind == WAVE)
        share = ramp(wave(place.x, detail.z), detail.x, detail.y);
    if (kind == PLAID)
        share = 0.5 * ramp(wave(place.x, detail.z), detail.x, detail.y)
              + 0.5 * ramp(wave(place.y, detail.z), detail.x, detail.y);
    if (kind == BRICKS)
    {
        vec2 size = detail.xy;
        float row = floor(place.y / size.y);
        float x = place.x + ((int(row) & 1) != 0 ? 0.0 : detail.w * size.x), column = floor(x / size.x);
        vec2 at = vec2(x - column * size.x, place.y - row * size.y), rim = min(at, size - at);
        is_mortar = min(rim.x, rim.y) < detail.z;
        share = lattice(ivec3(column, row, 0), 0u);
    }
    // what is finer than a pixel fades to its mean
    vec3 mixed = mix(colour, second_colour, mix(share, 0.5, fade));
    return is_mortar && fade < 0.5 ? (colour + second_colour) / 4.0 : mixed;
}

void main()
{
    int index = int(gl_FragCoord.y) * width + int(gl_FragCoord.x);
    if (index < first || index >= last)
        discard;
    int place_of_spot = texelFetch(spots, index).x;
    ivec2 spot = ivec2(place_of_spot & 0xffff, place_of_spot >> 16);
    int triangle = texelFetch(numbers, spot, 0).x - 1;
    vec3 direction = world_from_pixel * vec3(0.5 * vec2(spot), 1.0);
    normal = vec4(0.0);
    if (triangle < 0)
    {
        seen = vec4(sky_radiance(direction), 0.0);
        return;
    }

    ivec3 corner = corners_of(triangle);
    vec3 a = texelFetch(posed, 2 * corner.x).xyz;
    vec3 ab = texelFetch(posed, 2 * corner.y).xyz - a, ac = texelFetch(posed, 2 * corner.z).xyz - a;
    // ratios of scalar products (Moeller and Trumbore, 1997)
    vec3 from_a = eye - a, across = cross(ab, ac);
    float along = -dot(across, direction);
    along = abs(along) < 1e-12 ? 1e-12 : along;
    float depth_m = dot(from_a, across) / along;
    // a rasteriser's corners are rounded to a fraction of a place, so a ray may just miss
    vec2 shares = clamp(vec2(dot(cross(ac, from_a), direction), dot(cross(from_a, ab), direction)) / along, 0.0, 1.0);
    shares /= max(1.0, shares.x + shares.y);
    vec3 weight = vec3(1.0 - shares.x - shares.y, shares);
    across = normalize(across) * sign(along);

    int material = MATERIAL_TEXELS * texelFetch(material_of, triangle).x;
    vec4 first_texel = texelFetch(materials, material), second_texel = texelFetch(materials, material + 1);
    vec3 first_colour = first_texel.rgb, second_colour = second_texel.rgb;
    float roughness = first_texel.w, sheen = second_texel.w;
    vec4 kind_flat_repeats = texelFetch(materials, material + 2), detail = texelFetch(materials, material + 3);
    vec3 n = kind_flat_repeats.y > 0.0 ? across : normalize(within(posed, 1, corner, weight));
    n *= dot(n, direction) > 0.0 ? -1.0 : 1.0;
    vec3 to_eye = -normalize(direction);
    float facing = dot(to_eye, n);

    vec3 colour;
    vec4 picture_at = mat3x4(texelFetch(pictured, 3 * triangle), texelFetch(pictured, 3 * triangle + 1),
                             texelFetch(pictured, 3 * triangle + 2)) * weight;
    if (has_texture != 0)
        colour = first_colour * textureLod(texture_picture, vec2(picture_at.x, 1.0 - picture_at.y), 0.0).rgb;
    else
    {
        mat3 turn = mat3(texelFetch(materials, material + 4).xyz, texelFetch(materials, material + 5).xyz,
                         texelFetch(materials, material + 6).xyz);
        float repeats = kind_flat_repeats.z, footprint_m = depth_m / focal_px / max(facing, 0.05);
        vec3 place = turn * (within(covering, 0, corner, weight) * repeats);
        float fade = clamp(footprint_m * repeats * 2.0 - 0.5, 0.0, 1.0);
        colour = pattern_colour(int(kind_flat_repeats.x), detail, place, fade, first_colour, second_colour);
    }
    colour *= within(covering, 1, corner, weight);
    if (has_painting != 0)
        colour *= textureLod(painting, vec2(picture_at.z, 1.0 - picture_at.w), 0.0).rgb;
    colour *= 1.0 + sheen * pow(1.0 - clamp(facing, 0.0, 1.0), 3.0);

    vec3 place = eye + direction * depth_m, light = sky_irradiance(n), mirrored = vec3(0.0);
    float power = 2.0 / pow(max(roughness, 0.1), 4.0) - 2.0;  // Blinn-Phong as wide as that roughness
    for (int lamp = 0; lamp < num_lamps; lamp++)
    {
        vec3 towards = lamp_place[lamp].xyz - lamp_place[lamp].w * place;
        float reach = lamp_irradiance[lamp].w > 0.0 ? length(towards) / lamp_irradiance[lamp].w : 1.0;
        towards = normalize(towards);
        vec3 received = lamp_irradiance[lamp].rgb * max(dot(towards, n), 0.0) / (reach * reach);
        received *= reached(lamp, place, depth_m, across);
        light += received;
        if (roughness < MATT)
        {
            float lobe = pow(max(dot(normalize(towards + to_eye), n), 0.0), power) * (power + 2.0) / 8.0;
            mirrored += GLANCING * lobe * received;
        }
    }
    seen = vec4((colour * light + mirrored) / PI, depth_m);
    normal = vec4(n, 0.0);
}
