"""Spanish."""
from .engine import table

JOIN = " "

ANIMALS = table(
    "noun g un el al del emoji",
    """
zorro | m | un zorro | el zorro | al zorro | del zorro | 🦊
conejo | m | un conejo | el conejo | al conejo | del conejo | 🐰
oso | m | un oso | el oso | al oso | del oso | 🐻
ratón | m | un ratón | el ratón | al ratón | del ratón | 🐭
erizo | m | un erizo | el erizo | al erizo | del erizo | 🦔
elefante | m | un elefante | el elefante | al elefante | del elefante | 🐘
león | m | un león | el león | al león | del león | 🦁
gata | f | una gata | la gata | a la gata | de la gata | 🐱
lechuza | f | una lechuza | la lechuza | a la lechuza | de la lechuza | 🦉
tortuga | f | una tortuga | la tortuga | a la tortuga | de la tortuga | 🐢
ardilla | f | una ardilla | la ardilla | a la ardilla | de la ardilla | 🐿️
rana | f | una rana | la rana | a la rana | de la rana | 🐸
abeja | f | una abeja | la abeja | a la abeja | de la abeja | 🐝
""",
)

NAMES = table(
    "name g",
    """
Mateo | m
Hugo | m
Diego | m
Bruno | m
Pablo | m
Tomás | m
Nico | m
Simón | m
Andrés | m
Rafael | m
Lucía | f
Carmen | f
Sofía | f
Elena | f
Paula | f
Julia | f
Inés | f
Rosa | f
Marta | f
Valeria | f
""",
)

OBJECTS = table(
    "noun g un el emoji",
    """
cometa | f | una cometa | la cometa | 🪁
llave | f | una llave | la llave | 🔑
bufanda | f | una bufanda | la bufanda | 🧣
campana | f | una campana | la campana | 🔔
maleta | f | una maleta | la maleta | 🧳
pelota | f | una pelota | la pelota | ⚽
sombrero | m | un sombrero | el sombrero | 🎩
libro | m | un libro | el libro | 📖
globo | m | un globo | el globo | 🎈
barco | m | un barco | el barco | ⛵
tambor | m | un tambor | el tambor | 🥁
anillo | m | un anillo | el anillo | 💍
""",
)

COLORS = table(
    "m f",
    """
rojo | roja
azul | azul
verde | verde
amarillo | amarilla
blanco | blanca
negro | negra
morado | morada
dorado | dorada
plateado | plateada
""",
)

PLACES = table(
    "en",
    """
bajo el puente viejo
junto al río
detrás del molino
en el bosque oscuro
en la colina verde
al lado del lago
en el jardín de las rosas
cerca del faro
en una cueva tranquila
dentro de un árbol hueco
junto a la cascada
en el valle de las flores
""",
)

FOODS = table(
    "food emoji",
    """
pastel de manzana | 🥧
sopa caliente | 🍲
pan con miel | 🍯
pan fresco | 🍞
fresas | 🍓
queso | 🧀
galletas | 🍪
cerezas | 🍒
zanahorias | 🥕
uvas | 🍇
""",
)

TRAITS = table(
    "m f",
    """
valiente | valiente
curioso | curiosa
listo | lista
tímido | tímida
alegre | alegre
amable | amable
pequeño | pequeña
soñador | soñadora
""",
)

CITIES = table(
    "name",
    """
Madrid
Sevilla
Lima
Bogotá
Valencia
Quito
Barcelona
Granada
La Habana
Montevideo
""",
)

COUNTRIES = table(
    "name capital",
    """
Francia | París
Alemania | Berlín
Japón | Tokio
China | Pekín
España | Madrid
Italia | Roma
Egipto | El Cairo
México | Ciudad de México
Rusia | Moscú
Perú | Lima
Portugal | Lisboa
Cuba | La Habana
""",
)

ASK = [
    "[Cuéntame|Por favor, cuéntame] [una historia|un cuento] sobre {hero.un}.",
    "Cuéntame una historia sobre {hero.un} que se llama {hname}.",
    "¿Me cuentas un cuento con {hero.un} y {obj.un} {color.@obj}?",
    "Quiero una historia con {hero.un} y {friend.un}.",
    "[Escribe|Cuéntame] un cuento sobre {hname}, {hero.el}.",
]

BEGIN = "[[Érase una vez|Había una vez] {hero.un} {trait.@hero} que se llamaba {hname} y vivía {home}.\
|Hace [mucho|mucho tiempo|muchos años] vivía {home} {hero.un} {trait.@hero} llamad{hero?o:a} {hname}.] {hero.emoji}"

PLOTS = [
    [
        BEGIN,
        "{hname} tenía {obj.un} {color.@obj} y [{obj?lo:la} llevaba a todas partes|{obj?lo:la} quería más que nada|jugaba con {obj.el} todos los días]. {obj.emoji}",
        "[Una mañana|Una tarde|Un día de lluvia|Un día de viento], ¡{obj.el} desapareció!",
        "{hname} [buscó por todas partes|miró en cada rincón], pero [no {obj?lo:la} encontró|no encontró nada], y [se puso muy triste|empezó a llorar]. 😢",
        "[Entonces|Después de un rato|De pronto] pasó por allí {friend.un} que se llamaba {fname}. «[No te preocupes|No llores], {hname} —dijo {fname}—, [yo te ayudo|vamos a buscar|cuatro ojos ven más que dos]». {friend.emoji}",
        "[Buscaron todo el día|Caminaron durante horas|Buscaron hasta la noche] y [por fin|al final] encontraron {obj.el} {spot}.",
        "{hname} [abrazó a {fname}|dio las gracias a {fname}] con mucha alegría y comieron {food} en buena compañía. {food.emoji}",
        "[Desde ese día|Desde entonces], {hname} y {fname} [siempre van de la mano|juegan todos los días|no se separan nunca]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "[Una noche|Una mañana|Un día de verano], {hname} encontró un mapa viejo. El mapa mostraba el camino a un tesoro [|secreto]. 🗺️",
        "Como no quería ir sol{hero?o:a}, llamó a {fname}, {friend.un} [muy fuerte|que vivía cerca|de buen corazón]. {friend.emoji}",
        "«¡[Qué aventura|Un tesoro]! —dijo {fname}—. [Claro que voy|Voy contigo|Vamos ahora mismo]».",
        "[El camino era largo|La noche era oscura|La montaña era alta], pero {fname} [contaba chistes|cantaba canciones|llevaba una lámpara] y {hname} [no tenía miedo|leía el mapa].",
        "Buscaron {spot} y encontraron una caja [pequeña|pesada|de madera]. Dentro había {obj.un} {color.@obj}. ¡Qué sorpresa! {obj.emoji}",
        "[Por la noche|Al volver a casa], comieron {food} y {hname} dijo: «[La amistad es el mejor tesoro|Este tesoro es tuyo y mío|Sin ti no lo habría logrado]». {food.emoji}",
        "[Y así|De esta manera] {hname} y {fname} formaron [un gran equipo|un equipo para siempre]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "{hname} quería mucho a {fname}, {friend.un} [muy simpátic{friend?o:a}|que vivía cerca]. {friend.emoji}",
        "Un día [|de invierno ]{fname} estaba [enferm{friend?o:a}|muy triste] y no [quería jugar|podía salir]. [🤒|😔]",
        "{hname} [tuvo una idea|pensó mucho]: «[Voy a buscar un regalo|Un regalo es la mejor medicina]».",
        "[Caminó bajo la lluvia|Subió por las piedras|Corrió contra el viento] y [buscó algo bonito|buscó hasta la tarde].",
        "{hname} encontró {spot} {obj.un} {color.@obj}. ¡[Era perfect{obj?o:a}|Qué bonit{obj?o:a} era]! {obj.emoji}",
        "Cuando {fname} vio {obj.el}, [empezó a reír|sonrió] y se sintió [mejor|mucho mejor].",
        "Luego comieron {food} y [contaron historias|cantaron] hasta [la medianoche|que salieron las estrellas]. {food.emoji} [🌟|❤️|😊|]",
    ],
]

RECALL = [
    ("{hname}", "¿Cómo se llamaba {hero.el}?", "[{hero.el} se llamaba {hname}|Se llamaba {hname}]."),
    ("{fname}", "¿Quién era {friend.el}?", "{friend.el} era {fname}. {friend.emoji}"),
    ("{fname}", "¿Con quién comió {hname}?", "{hname} comió con {fname}, {friend.el}. {friend.emoji}"),
    ("{color.@obj}", "¿De qué color era {obj.el}?", "{obj.el} era {color.@obj}. {obj.emoji}"),
    ("{spot}", "¿Dónde estaba {obj.el}?", "{obj.el} estaba {spot}."),
    ("{home}", "¿Dónde vivía {hname}?", "{hname} vivía {home}. [🏡|]"),
    ("{food}", "¿Qué comieron?", "Comieron {food}. {food.emoji}"),
    ("{obj.un}", "¿Qué encontró {hname}?", "{hname} encontró {obj.un} {color.@obj}. {obj.emoji}"),
]

INTRO = [
    (
        "¡Hola! Me llamo {uname}, vivo en {city} y mi color favorito es el {ucolor.m}. Tengo {upet.un} que se llama {pname}.",
        "[Mucho gusto|Un placer], {uname}. {city} es una ciudad [muy bonita|preciosa]. ¡[Saludos a {pname}|Un abrazo para {pname}]! {upet.emoji}",
    ),
    (
        "[Buenos días|Hola], soy {uname} y vivo en {city}. En casa tengo {upet.un}; su nombre es {pname}. Mi color favorito es el {ucolor.m}.",
        "[Hola|Un placer], {uname}. ¡Qué bien! {upet.emoji} ¿[En qué puedo ayudarte|Qué quieres saber]?",
    ),
]

REMEMBER = [
    ("{uname}", "¿[Cómo me llamo|Recuerdas mi nombre]?", "Te llamas {uname}."),
    ("{city}", "¿[Dónde vivo|En qué ciudad vivo]?", "Vives en {city}. [🏡|]"),
    ("{ucolor.m}", "¿Cuál es mi color favorito?", "Tu color favorito es el {ucolor.m}. [🎨|]"),
    ("{pname}", "¿Cómo se llama mi {upet}?", "Tu {upet} se llama {pname}. {upet.emoji}"),
    ("{upet.un}", "¿Qué animal tengo?", "Tienes {upet.un}. {upet.emoji}"),
]

SMALL = [
    ("¡[Hola|Buenas]!", "¡Hola! ¿En qué puedo ayudarte? [👋|😊]"),
    ("¿Cómo estás?", "[Muy bien|Estoy bien], gracias. ¿Y tú? 😊"),
    ("[Gracias|Muchas gracias].", "¡De nada! [😊|🌟]"),
    ("¿Quién eres?", "Soy un modelo de lenguaje muy pequeño. Me gustan los cuentos. 📖"),
    ("¿Qué sabes hacer?", "Sé contar cuentos y responder preguntas sencillas. [📖|]"),
    ("Buenas noches.", "¡Buenas noches! [Que duermas bien.|Dulces sueños.] 🌙"),
    ("¿Qué tiempo hace?", "No puedo mirar por la ventana, pero espero que haga sol. ☀️"),
    ("¿Qué puedo comer hoy?", "Te recomiendo {ufood}. {ufood.emoji}"),
]

KNOW = [
    ("¿Cuál es la capital de {country}?", "La capital de {country} es {country.capital}."),
    ("¿Cuánto es {a} más {b}?", "{a} más {b} son {sum}."),
]
